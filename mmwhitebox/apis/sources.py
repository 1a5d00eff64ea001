"""Images that a command line names, and what their outputs are called."""
import logging
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from mmengine.logging import print_log
from PIL import Image

from mmwhitebox.datasets.image_io import BROKEN_IMAGE, IMAGE_SUFFIXES
from mmwhitebox.datasets.output_names import output_names, source_root
from mmwhitebox.errors import ImageReadError, UserError

from .inputs import local_path


def list_images(source: str | Path) -> list[Path]:
    """Image files of a path: itself, the images of a folder (and its subfolders), or a glob's matches.

    Hidden files and folders (``._a.jpg`` of macOS, ``.ipynb_checkpoints``) are left out unless they are named.

    Raises:
        UserError: Nothing is there.
    """
    return list(map(Path, image_paths(source)))


def image_paths(source: str | Path, without: str | Path | None = None) -> list[str]:
    """As :func:`list_images`, as strings: a million of them are quick to list and fit into memory.

    Args:
        source (str | Path): File, folder or glob.
        without (str | Path, optional): Folder below a source whose files are none of it. Defaults to None.

    Raises:
        UserError: Nothing is there.
    """
    path = local_path(source)
    if path.is_dir():
        start = '' if path == Path() else os.path.join(path, '')
        found = list(images_below(start, os.path.abspath(without) if without else None))
    elif any(sign in str(source) for sign in '*?[') and not path.exists():
        root = Path(path.anchor) if path.is_absolute() else Path()
        found = [str(p) for p in sorted(root.glob(str(path.relative_to(path.anchor))))
                 if p.is_file() and (p.name[0] != '.' or path.name[0] == '.')]
    else:
        found = [str(path)] if path.is_file() else []
    if not found:
        raise UserError(f'{source}: no image there. Give an image file, a folder of images '
                                f'({", ".join(IMAGE_SUFFIXES)}) or a quoted glob.')
    return found


def images_below(folder: str, without: str | None = None) -> Iterator[str]:
    """Paths of the images in a folder (that ends in a slash, or is '') and below it, in the order of their parts.

    Links to folders are followed, but not to a folder that they are in. No file is opened.
    """
    try:
        with os.scandir(folder or '.') as entries:
            listed = sorted((entry for entry in entries if entry.name[0] != '.'), key=lambda entry: entry.name)
    except OSError as error:
        print_log(f'{folder}: this folder cannot be listed ({error.strerror}); its images are left out.', 'current',
                  logging.WARNING)
        return
    for entry in listed:
        path = folder + entry.name
        if entry.is_dir():
            if entry.is_symlink() and Path(os.path.realpath(folder or '.')).is_relative_to(os.path.realpath(path)):
                continue
            if without is None or os.path.abspath(path) != without:
                yield from images_below(path + os.sep, without)
        elif path.lower().endswith(IMAGE_SUFFIXES):
            yield path


def named_images(sources: Iterable[str | Path], without: str | Path | None = None,
                 on_error: Callable[[str, ImageReadError], None] | None = None) -> list[tuple[str, str]]:
    """Image files of some sources, and a name for the outputs of each: its path below the folder given.

    Args:
        sources (Iterable[str | Path]): Files, folders, globs.
        without (str | Path, optional): Folder whose files are no images of a source: that of the outputs, if it lies
            below one. Defaults to None.
        on_error (Callable, optional): Called with the path and the error of a source that is a text file, which is
            left out then. None raises the error.

    Returns:
        list[tuple[str, str]]: Path and name without suffix, no two alike: what is named twice counts once.

    Raises:
        UserError: A source holds no image, or is a text file.
    """
    sources = list(sources)
    paths = []
    for source in sources:
        found = image_paths(source, without)
        if found == [str(Path(source).expanduser())] and is_text(Path(found[0])):
            error = ImageReadError(f'{source}: this is a text file, no image.')
            if on_error is None:
                raise error
            on_error(found[0], error)
            continue
        paths += found
    paths = list(dict.fromkeys(paths))
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
