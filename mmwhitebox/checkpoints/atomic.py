"""Files that are whole or not there: written beside their place, synced, read back, then moved."""
import errno
import os
import re
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import torch

from mmwhitebox.errors import WriteError

CHUNK = 1 << 24
TEMPORARY = re.compile(r'\..+\.\d+\.tmp')


def temporary_path(path: Path) -> Path:
    """Where a file lies while this process writes it: ``.NAME.PID.tmp`` in the same folder."""
    return path.with_name(f'.{path.name}.{os.getpid()}.tmp')


def remove_stale(folder: str | Path) -> list[Path]:
    """Remove the temporary files that killed processes left in a folder; returns what was removed."""
    stale = [path for path in sorted(Path(folder).glob('.*.tmp')) if TEMPORARY.fullmatch(path.name)]
    for path in stale:
        path.unlink(missing_ok=True)
    return stale


def sync(path: Path) -> None:
    """Wait until a file, or the entries of a folder, are on the disk.

    Raises:
        OSError: The disk refused them; of a folder on a file system without such a sync, nothing.
    """
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if not path.is_dir() or error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(descriptor)


def write_atomically(path: str | Path,
                     write: Callable[[Path], object],
                     check: Callable[[Path], object] | None = None) -> None:
    """Write a file beside its place, sync it, and move it there when it is whole.

    At every moment, a power cut included, ``path`` is the whole old file, the whole new one, or missing if there
    was no old one.

    Args:
        path (str | Path): The file; its folder is created.
        write (Callable): Takes the path to write to.
        check (Callable, optional): Takes the path of the written file and raises an OSError, a RuntimeError or a
            WriteError if it is not what it should be. Defaults to None.

    Raises:
        WriteError: The file cannot be written, or the check failed; no temporary file is left.
    """
    path = Path(path)
    temporary = temporary_path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write(temporary)
        sync(temporary)
        if check is not None:
            check(temporary)
        os.replace(temporary, path)
        sync(path.parent)
    except (OSError, RuntimeError) as error:
        if isinstance(error, WriteError):
            raise
        raise WriteError(f'{path} cannot be written ({error}).') from error
    finally:
        with suppress(OSError):
            temporary.unlink()


def compare(path: Path, data: bytes) -> None:
    """Read a file back, from the disk where the system allows that, and compare it.

    Args:
        path (Path): A synced file.
        data (bytes): What it should hold.

    Raises:
        OSError: It holds something else.
    """
    expected = memoryview(data)
    with open(path, 'rb', buffering=0) as file:
        if hasattr(os, 'posix_fadvise'):
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        position = 0
        while chunk := file.read(CHUNK):
            if chunk != expected[position:position + len(chunk)]:
                raise OSError(errno.EIO, 'the file differs from what was written')
            position += len(chunk)
    if position != len(expected):
        raise OSError(errno.EIO, f'the file has {position} bytes of the {len(expected)} that were written')


def write_bytes(path: str | Path,
                data: bytes,
                check: Callable[[Path], object] | None = None) -> None:
    """Write bytes as :func:`write_atomically` does, and compare the file with them before it takes its place.

    Args:
        path (str | Path): The file; its folder is created.
        data (bytes): Its content.
        check (Callable, optional): A further check, as in :func:`write_atomically`. Defaults to None.

    Raises:
        WriteError: The file cannot be written, or reads differently.
    """

    def checks(temporary: Path) -> None:
        compare(temporary, data)
        if check is not None:
            check(temporary)

    write_atomically(path, lambda temporary: temporary.write_bytes(data), checks)


def save_checkpoint(checkpoint: dict, path: str | Path) -> None:
    """Write a checkpoint; a failure leaves no half of it. See :func:`write_atomically`."""
    write_atomically(path, lambda temporary: torch.save(checkpoint, temporary))
