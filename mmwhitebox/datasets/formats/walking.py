"""The files of a folder, and finding the image that an annotation or a list names."""
import collections
import os
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from mmwhitebox.errors import DatasetLayoutError

from ..image_io import IMAGE_SUFFIXES
from .pairs import noted
from .paths import stem, suffix

UNREAD = ('.npy', '.npz', '.mat', '.dcm', '.nii', '.gz', '.heic', '.avif', '.jp2', '.pdf', '.zip', '.h5', '.svs',
          '.tar', '.rar', '.7z', '.psd', '.xcf', '.svg')


class Found(NamedTuple):
    """Files below a folder, as sorted posix paths from it.

    ``images`` are files with the suffix of an image, ``others`` the rest; ``problems`` are lines.
    """
    root: Path
    images: list[str]
    others: list[str]
    problems: list[str]

    def with_suffix(self, *suffixes: str) -> list[str]:
        """Those of ``others`` that end so, in any case."""
        return [path for path in self.others if path.lower().endswith(suffixes)]


def walk(root: Path) -> Found:
    """List the files of a folder. Links are followed; hidden and empty files are left out and told.

    Raises:
        DatasetLayoutError: No such folder, or no images in it.
    """
    if not root.is_dir():
        raise DatasetLayoutError(f'{root}: ' + ('a file: name the folder that all lie in.' if root.is_file() else
                                                'no such folder.'))
    images, others, hidden, empty = [], [], [], []
    for folder, folders, names in tree(root):
        folders[:] = [name for name in folders if not name.startswith(('.', '__'))]
        below = Path(folder).relative_to(root)
        for name in names:
            path = (below / name).as_posix()
            if name.startswith('.') or name.lower() in ('thumbs.db', 'desktop.ini'):
                hidden.append(path)
            elif name.lower().endswith(IMAGE_SUFFIXES):
                (images if _bytes(os.path.join(folder, name)) else empty).append(path)
            else:
                others.append(path)
    problems = []
    pictures = [path for path in hidden if path.lower().endswith(IMAGE_SUFFIXES)]
    problems += noted('hidden files that end like images', sorted(pictures), 'they are left out; delete them '
                      'if they are traces of another system (macOS writes ._name beside name).')
    problems += noted('image files of no bytes, or links to nothing', sorted(empty), 'copy them again; they are left '
                      'out.')
    strange = sorted(path for path in others if path.lower().endswith(UNREAD))
    problems += noted(f'files of a kind that is not read, {suffixes_of(strange)}', strange, 'save them as PNG or TIFF '
                      'if they are images or masks.')
    if not images:
        raise DatasetLayoutError('\n'.join([f'{root}: no image in it ({", ".join(IMAGE_SUFFIXES)}); {len(others)} '
                                            'other files.', *problems]))
    return Found(root, sorted(images), sorted(others), problems)


def tree(root: Path) -> Iterator[tuple[str, list[str], list[str]]]:
    """``os.walk`` that follows links, but none to a folder that it has been in."""
    seen = set()
    for folder, folders, names in os.walk(root, followlinks=True):
        real = os.path.realpath(folder)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        yield folder, folders, names


def _bytes(path: str) -> int:
    try:
        return os.stat(path).st_size
    except OSError:
        return 0


def suffixes_of(paths: Iterable[str]) -> str:
    """The suffixes of files as they are written, the most frequent first."""
    counts = collections.Counter(suffix(path) for path in paths)
    return ', '.join(suffix for suffix, _ in counts.most_common())


class Finder:
    """Finds the file that a list, table or json means: by path, part of a path, name or stem, in any case.

    Args:
        paths (Iterable[str]): Posix paths from the root.
    """

    def __init__(self, paths: Iterable[str]) -> None:
        self.by_stem = collections.defaultdict(list)
        for path in paths:
            self.by_stem[stem(path).lower()].append(path)

    def find(self, name: str, near: str = '', split: str | None = None) -> str | None:
        """The file of a name; None if there is none, or if several fit alike.

        Args:
            name (str): A stem, a file name, or a path of which the last parts count.
            near (str): Folder of the file that says so, preferred. Defaults to ''.
            split (str, optional): Preferred part of the path. Defaults to None.
        """
        meant = PurePosixPath(name.strip().replace('\\', '/').lower())
        exact = [path for path in self.by_stem.get(meant.stem, ())
                 if PurePosixPath(path).name.lower() == meant.name]
        files = exact or self.by_stem.get(meant.name, ()) or (
            self.by_stem.get(meant.stem, ()) if meant.name.endswith(IMAGE_SUFFIXES) else ())
        if len(files) < 2:
            return files[0] if files else None
        parts = meant.parts[-2::-1]

        def rank(path: str) -> tuple:
            folders = PurePosixPath(path.lower()).parts[-2::-1]
            same = next((i for i, (a, b) in enumerate(zip(parts, folders)) if a != b), min(len(parts), len(folders)))
            common = os.path.commonprefix([near.lower().split('/'), path.lower().split('/')])
            return same, bool(split and any(split in folder for folder in folders)), len(common)

        ranked = sorted(files, key=rank)
        return ranked[-1] if rank(ranked[-1]) > rank(ranked[-2]) else None
