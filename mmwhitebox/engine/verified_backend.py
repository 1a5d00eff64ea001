"""A file backend of mmengine that puts a checkpoint in its place only when it reads back as written."""
import logging
import pickle
from pathlib import Path

from mmengine.fileio import BaseStorageBackend, LocalBackend, get_file_backend, register_backend
from mmengine.logging import print_log

from mmwhitebox.checkpoints.atomic import write_bytes
from mmwhitebox.checkpoints.loading import safe_load
from mmwhitebox.errors import CheckpointError, WriteError

NAME = 'mmwhitebox.verified'


def check_loads(path: Path) -> None:
    """Load a checkpoint with weights only, its tensors mapped; say so when it holds other objects as well.

    Raises:
        CheckpointError: It cannot be loaded.
    """
    try:
        safe_load(path, mmap=True)
    except CheckpointError as error:
        if not isinstance(error.__cause__, pickle.UnpicklingError):
            raise
        print_log(f'The checkpoint was written, but it is not made of weights only, so --resume will need '
                  f'--trust-checkpoint: {error}', logger='current', level=logging.WARNING)


@register_backend(NAME)
class VerifiedBackend(BaseStorageBackend):
    """Wraps the backend of a path: what it puts is read back.

    On local disk (and what is mounted as one) a file is written beside its place, synced, compared byte for byte,
    loaded, and then renamed: the old file stays whole until the new one is.
    On other storage there is no rename: the object is put under its name, which object stores do as a whole or not at
    all, fetched and compared; one that differs is removed. So an object of the same name may be lost there, others not.

    Args:
        inner (dict, optional): ``backend_args`` of the wrapped backend; None chooses it by the prefix of the path.
            Defaults to None.
    """

    def __init__(self, inner: dict | None = None) -> None:
        self.inner = inner

    def wrapped(self, path: str | Path) -> BaseStorageBackend:
        """The backend of a path."""
        return get_file_backend(path, backend_args=self.inner, enable_singleton=True)

    def get(self, filepath: str | Path) -> bytes:
        return self.wrapped(filepath).get(filepath)  # pyright: ignore (the base class has an empty method)

    def get_text(self, filepath: str | Path, encoding: str = 'utf-8') -> str:
        return self.wrapped(filepath).get_text(filepath, encoding)

    def join_path(self, filepath: str | Path, *filepaths: str | Path) -> str | Path:
        return self.wrapped(filepath).join_path(filepath, *filepaths)

    def put(self, obj: bytes, filepath: str | Path) -> None:
        """Write a checkpoint.

        Args:
            obj (bytes): What torch.save makes.
            filepath (str | Path): Its place.

        Raises:
            WriteError: It could not be written, or does not read back as it was written.
        """
        backend = self.wrapped(filepath)
        if isinstance(backend, LocalBackend):
            write_bytes(filepath, obj, check=check_loads)
            return
        try:
            backend.put(obj, filepath)
            same = bytes(backend.get(filepath)) == obj
            if not same:
                backend.remove(filepath)
        except Exception as error:  # every client of a storage has errors of its own
            raise WriteError(f'{filepath} cannot be written ({type(error).__name__}: {error}).') from error
        if not same:
            raise WriteError(f'{filepath} reads back differently from what was written.')
