"""Weights as NumPy arrays in a ``.npz``, as JAX models are released: read without pickles, written whole."""
import zipfile
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from mmwhitebox.errors import CheckpointError

from .archive import BAD_ARCHIVE, check_sums, is_archive
from .atomic import write_atomically

MOST_INFLATION = 32  # weights hardly compress


def read_arrays(path: Path) -> dict[str, Tensor]:
    """The arrays of a ``.npz`` as tensors, by name.

    Raises:
        CheckpointError: It is no such archive, damaged, holds an array of objects or of a type that torch lacks, or
            claims to be more than 32 times its size.
    """
    if not is_archive(path):
        raise CheckpointError(f'Checkpoint {path} cannot be read: it is no .npz, which is a zip archive of arrays.')
    try:
        with zipfile.ZipFile(path) as archive:
            claimed = sum(part.file_size for part in archive.infolist())
    except BAD_ARCHIVE as error:
        raise CheckpointError(f'Checkpoint {path} cannot be read: it is truncated or damaged ({error}).') from error
    if claimed > MOST_INFLATION * path.stat().st_size:
        raise CheckpointError(f'Checkpoint {path} was refused: its arrays claim {claimed} bytes, more than '
                              f'{MOST_INFLATION} times its size.')
    check_sums(path)
    tensors, name = {}, ''
    try:
        with np.load(path, allow_pickle=False) as arrays:
            for name in arrays.files:
                tensors[name] = torch.from_numpy(arrays[name])
    except Exception as error:  # the header of an array of a stranger can make the reader raise anything
        raise CheckpointError(f'Checkpoint {path} was refused: its array {name!r} cannot be read '
                              f'({next(iter(str(error).splitlines()), type(error).__name__)}).') from error
    return tensors


def write_arrays(tensors: dict[str, Tensor], path: str | Path) -> None:
    """Write tensors as a ``.npz``; a failure leaves no half of it, see :func:`.atomic.write_atomically`."""

    def write(temporary: Path) -> None:
        with open(temporary, 'wb') as file:
            np.savez(file, **{name: tensor.numpy() for name, tensor in tensors.items()})

    write_atomically(path, write)
