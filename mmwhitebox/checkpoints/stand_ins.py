"""Files that lie where a checkpoint should: web pages and Git LFS pointers."""
from pathlib import Path

from mmwhitebox.errors import CheckpointError

PAGES = (b'<!doctype html', b'<html', b'<head', b'<?xml')
POINTER = b'version https://git-lfs.'


def refuse_stand_in(path: Path, source: str | None = None) -> None:
    """Look at the first bytes of a file.

    Args:
        path (Path): The file.
        source (str, optional): Where it came from, for the message. Defaults to its path.

    Raises:
        CheckpointError: It is a web page or a Git LFS pointer; the message says how the file is fetched instead.
    """
    with open(path, 'rb') as file:
        start = file.read(512).removeprefix(b'\xef\xbb\xbf').lstrip().lower()
    if start.startswith(PAGES):
        raise CheckpointError(f'Checkpoint {source or path} is a web page: the server sent that in place of the file, '
                              'as Google Drive does above its quota or to ask before a large file. Fetch it in a '
                              'browser, or later.')
    if start.startswith(POINTER):
        raise CheckpointError(f'Checkpoint {source or path} is a Git LFS pointer: the weights themselves were not '
                              'fetched. Run git lfs pull there.')
