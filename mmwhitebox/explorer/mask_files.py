"""Masks that lie in a folder ``annotations`` beside the images: which is whose, and which files are none but masks."""
import os
from collections.abc import Iterable
from pathlib import Path

IMAGES, MASKS = 'images', 'annotations'
MASK_SUFFIXES = ('.png', '.tif', '.tiff', '.bmp', '.gif')


def mask_beside(image: str | Path) -> Path | None:
    """The mask of an image: of its name, in a folder ``annotations`` that lies where the images do, or their folder.

    ``a/images/val/x.jpg`` has ``a/annotations/val/x.png``; ``a/x.jpg`` has ``a/annotations/x.png`` or
    ``annotations/x.png``. A link that leads out of that folder is none.
    """
    image = Path(os.path.abspath(image))
    folders = [(image.parent / MASKS, ''), (image.parent.parent / MASKS, '')]
    for depth, part in enumerate(reversed(image.parts[:-1]), 1):
        if part == IMAGES:
            top = image.parents[depth]
            folders.insert(0, (top / MASKS, image.parent.relative_to(top / IMAGES)))
    for folder, below in folders:
        for suffix in MASK_SUFFIXES:
            path = folder / below / (image.stem + suffix)
            if path.is_file() and path.resolve().is_relative_to(folder.resolve()) and path != image:
                return path
    return None


def without_masks(paths: Iterable[str], root: str | Path | None = None) -> list[str]:
    """Files that are no masks of others among them: of no folder ``annotations``, or of a name that no other has.

    Args:
        paths (Iterable[str]): Files.
        root (str | Path, optional): Folder that was named; it may itself be one of masks. Defaults to None.
    """
    paths = list(paths)
    apart = [MASKS in Path(os.path.relpath(path, root) if root is not None else path).parts[:-1] for path in paths]
    names = {Path(path).stem for path, is_apart in zip(paths, apart) if not is_apart}
    return [path for path, is_apart in zip(paths, apart)
            if not (is_apart and path.lower().endswith(MASK_SUFFIXES) and Path(path).stem in names)]
