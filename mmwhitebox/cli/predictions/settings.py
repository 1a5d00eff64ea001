"""What the outputs of a run depend on, in few words."""
import json
from hashlib import blake2b

import torch
from mmengine.model import BaseModel


def settings_of(model: BaseModel, options: list[str]) -> dict[str, str | list[str]]:
    """What must be the same for a run to go on: the weights, the config's parts that predictions need, options.

    Args:
        model (BaseModel): From :func:`mmwhitebox.apis.init_model`.
        options (list[str]): What the command was asked for, in words.

    Returns:
        dict[str, str | list[str]]: 'checkpoint' and 'config', checksums of their content, and 'options'.
    """
    weights = blake2b(digest_size=16)
    for name, value in sorted(model.state_dict().items()):
        weights.update(name.encode())
        weights.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    parts = [model.cfg.model.to_dict(), model.test_pipeline.steps, model.dataset_meta]
    config = json.dumps(parts, sort_keys=True, default=lambda one: getattr(one, '__qualname__', type(one).__name__))
    return dict(checkpoint=weights.hexdigest(), config=blake2b(config.encode(), digest_size=16).hexdigest(),
                options=options)
