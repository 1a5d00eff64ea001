"""Models by name, for people who do not want a config."""
from mmengine.config import Config
from mmengine.model import BaseModel
from mmengine.registry import MODELS

from mmwhitebox.config.names import config_path
from mmwhitebox.engine.silence import silent

from .data import building

PARTS = ('backbone', 'decode_head', 'head')


def build_model(name: str, pretrained: bool = False, **overrides) -> BaseModel:
    """Build a model by the name of its config.

    Args:
        name (str): One of :func:`list_models`, e.g. 'cbt_decoder_ade20k' or
            'cbt_small_finetune_pets'.
        pretrained (bool): Fetch and load the encoder's pretrained weights. Defaults to False.
        **overrides: Arguments of the backbone or the head that carry that name in the config, e.g.
            ``num_classes=19``, ``img_size=640``, ``num_layers=6``; ``backbone__key``,
            ``decode_head__key`` and ``head__key`` set any other.

    Returns:
        BaseModel: The model, initialised, in training mode, with its config as ``cfg``.

    Raises:
        UnknownModelError: Unknown model.
        KeyError: An override that no part of it knows.
    """
    cfg = Config.fromfile(config_path(name))
    parts = {part: cfg.model[part] for part in PARTS if part in cfg.model}
    for key, value in overrides.items():
        part, _, inner = key.partition('__')
        if inner and part in parts:
            parts[part][inner] = value
            continue
        owners = [part for part in parts.values() if key in part]
        if not owners:
            known = sorted({k for part in parts.values() for k in part if k != 'type'})
            raise KeyError(f'{name} has no argument {key!r} to override. Its arguments: {", ".join(known)}; '
                           f'others are set as {"__key or ".join(parts)}__key.')
        for owner in owners:
            owner[key] = value
    if 'pretrained' in cfg.model.backbone:
        cfg.model.backbone.pretrained = pretrained
    with building(cfg), silent():
        model = MODELS.build(cfg.model)
        model.init_weights()
    model.cfg = cfg
    return model
