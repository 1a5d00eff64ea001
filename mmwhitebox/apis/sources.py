"""Images that a command line names, and what their outputs are called."""
from collections.abc import Iterable
from pathlib import Path

from PIL import Image

from mmwhitebox.datasets.image_io import BROKEN_IMAGE
from mmwhitebox.datasets.output_names import output_names, source_root
from mmwhitebox.errors import UserError

from .inference import list_images


def named_images(sources: Iterable[str | Path]) -> list[tuple[str, str]]:
    """Image files of some sources, and a name for the outputs of each: its path below the folder given.

    Args:
        sources (Iterable[str | Path]): Files, folders, globs.

    Returns:
        list[tuple[str, str]]: Path and name without suffix, no two names alike.

    Raises:
        UserError: A source holds no image, or is a text file.
    """
    sources = list(sources)
    paths = []
    for source in sources:
        found = list_images(source)
        if found == [Path(source).expanduser()] and is_text(found[0]):
            raise UserError(f'{source}: this is a text file, no image.')
        paths += map(str, found)
    return list(zip(paths, output_names(paths, [source_root(source) for source in sources])))


def is_text(path: Path) -> bool:
    """Whether a file is text and no picture (there are pictures in text: PPM)."""
    try:
        with Image.open(path):
            return False
    except BROKEN_IMAGE:
        with open(path, 'rb') as file:
            start = file.read(1024)
        try:
            return bool(start) and b'\0' not in start and bool(start.decode())
        except UnicodeDecodeError as error:
            return error.start > len(start) - 4 > 0  # cut within a character
