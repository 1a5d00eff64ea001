"""Reading checkpoints: weights only, with errors that say what is wrong with the file."""
import logging
import pickle
import re
import threading
from collections import OrderedDict
from pathlib import Path
from urllib.parse import urlparse

import numpy as np
import torch
from mmengine.logging import HistoryBuffer, print_log
from mmengine.runner import CheckpointLoader
from safetensors.torch import load_file
from torch import nn

from mmwhitebox.errors import CheckpointError, joined
from mmwhitebox.models.access import unwrap
from mmwhitebox.models.optimization import MARK

from .archive import check_sizes, check_sums, is_archive
from .arrays import read_arrays
from .download import download
from .fitting import fit
from .plain_data import plain_types
from .stand_ins import refuse_stand_in

OTHER_SCHEMES = [  # of mmengine's CheckpointLoader
    'pavi://', r'(\S+\:)?s3://', r'(\S+\:)?petrel://', 'modelzoo://', 'torchvision://', 'open-mmlab://',
    'openmmlab://', 'mmcls://'
]
_READING = threading.Lock()  # torch's list of safe types is the process's


def history_method(owner: type, name: str):
    """``getattr`` as far as a pickled HistoryBuffer needs it: the statistics of that class."""
    if owner is not HistoryBuffer or name.startswith('_'):
        raise pickle.UnpicklingError(f'Unsupported attribute {name} of {owner}')
    return getattr(owner, name)


def mmengine_types() -> list:
    """Types beyond tensors that mmengine itself writes: the message hub's NumPy histories."""
    return [
        HistoryBuffer, (history_method, 'builtins.getattr'), np.ndarray, np.dtype,
        np._core.multiarray._reconstruct, np._core.multiarray.scalar,
        *(type(np.dtype(t)) for t in ('?', 'i4', 'i8', 'u4', 'u8', 'f4', 'f8'))
    ]


def safe_load(path: str | Path, map_location: str = 'cpu', mmap: bool = False) -> dict:
    """Read a checkpoint without running any code from it.

    Args:
        path (str | Path): A ``.pth`` written by torch or mmengine, a ``.safetensors`` file, or a ``.npz`` of arrays.
        map_location (str): Device of the tensors. Defaults to 'cpu'.
        mmap (bool): Leave the tensors in the file until they are used. Only for files of torch >= 1.6.
            Defaults to False.

    Returns:
        dict: The checkpoint; of a safetensors file or a ``.npz``, its tensors.

    Raises:
        CheckpointError: The file is missing, empty, truncated, damaged (its checksums are compared unless
            ``mmap`` is set), a web page or a Git LFS pointer, not a checkpoint, claims more than it has, or holds
            objects other than tensors, plain containers, mmengine's own histories and :func:`.plain_data.plain_types`.
    """
    path = Path(path).expanduser()
    if path.is_dir():
        found = sorted(path.glob('*.pth'), key=lambda file: file.stat().st_mtime)
        raise CheckpointError(f'{path} is a folder: name a checkpoint'
                              + (f', {found[-1]} for example.' if found else '; there is none in it.'))
    if not path.is_file():
        raise CheckpointError(f'Checkpoint {path} does not exist.')
    if path.stat().st_size == 0:
        raise CheckpointError(f'Checkpoint {path} is empty (0 bytes).')
    if path.suffix in ('.onnx', '.pt2'):
        raise CheckpointError(f'{path} is an exported file, no checkpoint: mmwhitebox test and load_exported take it, '
                              'all else takes the checkpoint that it was made of.')
    try:
        refuse_stand_in(path)
        if path.suffix == '.safetensors':
            return load_file(path, device=map_location)
        if path.suffix == '.npz':
            return {key: value.to(map_location) for key, value in read_arrays(path).items()}
        if is_archive(path):
            check_sizes(path)
            if not mmap:
                check_sums(path)
        with _READING, torch.serialization.safe_globals([*mmengine_types(), *plain_types()]):
            return torch.load(path, map_location=map_location, weights_only=True, mmap=mmap)
    except pickle.UnpicklingError as error:
        found = re.search(r'GLOBAL (\S+)|WeightsUnpickler error:\s*(.+)', str(error))
        reason = (found.group(1) or found.group(2)) if found else str(error).splitlines()[0]
        raise CheckpointError(
            f'Checkpoint {path} was refused: it is not made of weights only, or it is no checkpoint (not '
            f'allowed: {reason}). If you trust its source, read it with --trust-checkpoint.') from error
    except CheckpointError:
        raise
    except PermissionError as error:
        raise CheckpointError(f'Checkpoint {path} cannot be read: {error.strerror}.') from error
    except Exception as error:  # a pickle of a stranger can make the reader raise anything
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise CheckpointError(f'Checkpoint {path} cannot be read: it is truncated or not a checkpoint '
                              f'({reason}).') from error


def download_and_load(url: str, map_location: str = 'cpu') -> dict:
    """Fetch a checkpoint into torch's cache, once, and read it as :func:`safe_load` does."""
    path = Path(torch.hub.get_dir()) / 'checkpoints' / Path(urlparse(url).path).name
    if not path.is_file():
        try:
            download(url, path)
        except CheckpointError as error:
            raise CheckpointError(f'Checkpoint {error} Fetch it where there is a network, and give the path of the '
                                  'file in its place.') from error
    return safe_load(path, map_location)


def refuse(address: str, map_location: str = 'cpu') -> dict:
    """Raise a CheckpointError: mmengine's loader of this scheme may run code from the file."""
    raise CheckpointError(f'Checkpoint {address} was refused: its scheme is not read with weights only. Fetch '
                          'the file and give its path, or trust it explicitly: --trust-checkpoint.')


def use_safe_loading() -> None:
    """Make mmengine read every checkpoint of this process with weights only (``--resume``, ``load_from``,
    ``init_cfg`` of type Pretrained): its own loader unpickles anything when that fails."""
    CheckpointLoader.register_scheme('', safe_load, force=True)
    CheckpointLoader.register_scheme(['http://', 'https://'], download_and_load, force=True)
    CheckpointLoader.register_scheme(OTHER_SCHEMES, refuse, force=True)


def tensors_of(checkpoint: object, path: str | Path) -> dict[str, torch.Tensor]:
    """The state dict of a checkpoint, with its meta data and without the prefix of data-parallel training.

    Raises:
        CheckpointError: It has none: it is no dict of named tensors.
    """
    state_dict = checkpoint.get('state_dict', checkpoint) if isinstance(checkpoint, dict) else checkpoint
    if not isinstance(state_dict, dict) or not all(
            isinstance(key, str) and isinstance(value, torch.Tensor) for key, value in state_dict.items()):
        raise CheckpointError(f'Checkpoint {path} holds no weights: its state_dict must be a dict of named tensors. '
                              'Weights of an official implementation are converted first: '
                              'mmwhitebox convert.')
    tensors = OrderedDict((key.removeprefix('module.'), value) for key, value in state_dict.items())
    metadata = getattr(state_dict, '_metadata', None)
    tensors._metadata = {re.sub(r'^module(\.|$)', '', key): value for key, value in metadata.items()} \
        if isinstance(metadata, dict) else {}
    return tensors


def load_weights(model: nn.Module, path: str | Path, trust: bool = False) -> dict:
    """Load a checkpoint into a model, exactly: every key and every shape must fit.

    What the model itself adapts is no difference: positions for another grid are resized, layers after the last one
    that it needs are left out.

    Args:
        model (nn.Module): The model, wrapped for data-parallel training or not.
        path (str | Path): Checkpoint file: one of mmengine, or a bare state dict.
        trust (bool): Unpickle whatever the file holds, which can run code. Only for files from a source
            you trust. Defaults to False.

    Returns:
        dict: ``meta`` of the checkpoint (empty if it has none).

    Raises:
        CheckpointError: The file cannot be read or is of another model; keys and shapes are named.
    """
    checkpoint = torch.load(path, map_location='cpu', weights_only=False) if trust else safe_load(path)
    module = unwrap(model)
    found = fit(module, tensors_of(checkpoint, path))
    if any(key.endswith(MARK) for key in found.unexpected):
        raise CheckpointError(f'Checkpoint {path} holds the weights of an optimised model: load them into '
                              'optimize(model), or take the checkpoint that it was made of.')
    if not found.exact:
        raise CheckpointError(f'Checkpoint {path} is not of this model.\n  ' + '\n  '.join(found.differences) +
                              '\nUse the config that the checkpoint was trained with.')
    try:
        module.load_state_dict(found.state_dict)
    except Exception as error:  # tensors of a layout or device that cannot be copied
        raise CheckpointError(f'Checkpoint {path} holds tensors that cannot be used ({error}).') from error
    print_log(f'Loaded {len(found.state_dict)} entries from {path}' + (f'; {found.summary}' if found.summary else ''),
              logger='current')
    broken = [name for name, value in found.state_dict.items()  # -inf alone may be a mask
              if value.is_floating_point() and value.numel() and not value.max().isfinite()]
    if broken:
        print_log(f'{path}: NaN or infinite numbers in {joined(broken, 3)}, as a training that diverged leaves them; '
                  'what this model predicts means nothing.', 'current', logging.WARNING)
    meta = checkpoint.get('meta', {})
    return meta if isinstance(meta, dict) else {}
