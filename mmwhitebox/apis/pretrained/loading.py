"""Loading a model from its folder, or from the hub."""
from pathlib import Path

import torch
from mmengine.config import Config
from torch import nn

from mmwhitebox.checkpoints import load_weights
from mmwhitebox.config.pretrained import WEIGHTS, config_of, file_in, read_info, stored_shapes
from mmwhitebox.engine.devices import check_device
from mmwhitebox.errors import CheckpointError, UserError, joined

from ..allotment import built
from ..inference import init_model
from .sharing import fetched


def from_pretrained(name: str | Path,
                    device: str | None = None,
                    revision: str | None = None,
                    precision: str = 'fp32',
                    cfg_options: dict | None = None) -> nn.Module:
    """Load a model that :func:`save_pretrained` saved; nothing of its folder is run.

    Args:
        name (str | Path): The folder, or the name of a repository on the Hugging Face hub, 'USER/MODEL'. What was
            fetched once is in the hub's cache; ``HF_HUB_OFFLINE=1`` takes it from there.
        device (str, optional): 'cpu', 'cuda:0', ... Defaults to a GPU if there is one.
        revision (str, optional): Branch, tag or commit on the hub. Defaults to None: the main branch.
        precision (str): As in :func:`init_model`, of a whole model. Defaults to 'fp32'.
        cfg_options (dict, optional): Overrides of config keys, e.g. ``{'model.test_cfg.mode': 'whole'}``.

    Returns:
        nn.Module: What :func:`init_model` returns: a segmentor or classifier in evaluation mode with ``cfg``,
        ``dataset_meta`` and ``test_pipeline``. Of a folder with a part of a model that part, in evaluation mode, with
        ``cfg``.

    Raises:
        CheckpointError: A file is missing, broken, of another version or of another model, a link out of the folder,
            or names something that would read, fetch or run.
        UserError: There is no such folder, repository or device.
    """
    check_device(device, 'device')
    folder = Path(name).expanduser()
    if not folder.is_dir():
        folder = fetched(str(name), revision)
    elif revision is not None:
        raise UserError(f'revision={revision!r} is for names on the hub; {folder} is a folder.')
    info = read_info(folder)
    weights = file_in(folder, WEIGHTS)
    shapes = stored_shapes(weights)
    cfg = config_of(info, weights)
    try:
        if info['task'] == 'features':
            model = build_part(cfg, cfg_options, weights, device)
        else:
            model = init_model(cfg, str(weights), device, cfg_options, precision=precision)
    except UserError:
        raise
    except Exception as error:  # what a stranger's config can make a constructor raise
        reason = next(iter(str(error).splitlines()), '') or type(error).__name__
        raise CheckpointError(f'{folder} holds no model that can be built ({reason}).') from error
    differing = [key for key, value in model.state_dict().items() if shapes.get(key) != list(value.shape)]
    if differing and not cfg_options:
        raise CheckpointError(f'{weights} was refused: it does not have the shapes that its config says: '
                              f'{joined(differing, 3)}.')
    return model


def build_part(cfg: Config, cfg_options: dict | None, weights: Path, device: str | None) -> nn.Module:
    """A part of a model with its weights, in evaluation mode."""
    cfg.merge_from_dict(cfg_options or {})
    part = built(cfg)
    load_weights(part, weights)
    part.cfg = cfg
    return part.to(device or ('cuda:0' if torch.cuda.is_available() else 'cpu')).eval()
