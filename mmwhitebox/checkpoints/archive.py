"""The archive that a checkpoint of torch >= 1.6 is: its parts are stored as they are, each with a checksum."""
import zipfile
import zlib
from pathlib import Path

from mmwhitebox.errors import CheckpointError

SIGNATURE = b'PK\x03\x04'
BAD_ARCHIVE = (zipfile.BadZipFile, zlib.error, EOFError, OSError, NotImplementedError, ValueError, RuntimeError)


def is_archive(path: Path) -> bool:
    """Whether torch reads a file as an archive: by its first bytes."""
    with open(path, 'rb') as file:
        return file.read(len(SIGNATURE)) == SIGNATURE


def check_sizes(path: Path) -> None:
    """Compare what the parts claim to hold with the size of the file, without reading them.

    torch stores them uncompressed. A compressed part can claim a thousand times its size, and all of it would be
    put into memory.

    Raises:
        CheckpointError: A part is compressed, the parts claim more than the file has, or it is no archive.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            parts = archive.infolist()
    except BAD_ARCHIVE as error:
        raise CheckpointError(f'Checkpoint {path} cannot be read: it is truncated or damaged ({error}).') from error
    packed = [part.filename for part in parts if part.compress_type != zipfile.ZIP_STORED]
    if packed:
        raise CheckpointError(f'Checkpoint {path} was refused: its part {packed[0]} is compressed, which torch does '
                              'not do. Unpack it, and save its content with torch.save.')
    claimed = sum(part.file_size for part in parts)
    if claimed > path.stat().st_size:
        raise CheckpointError(f'Checkpoint {path} was refused: its parts claim {claimed} bytes, more than it has.')


def check_sums(path: Path) -> None:
    """Read an archive whole and compare its parts with their CRC-32; torch itself does not.

    Raises:
        CheckpointError: A part is damaged.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
    except BAD_ARCHIVE as error:
        raise CheckpointError(f'Checkpoint {path} is damaged ({error}).') from error
    if damaged is not None:
        raise CheckpointError(f'Checkpoint {path} is damaged: the checksum of {damaged} does not fit.')
