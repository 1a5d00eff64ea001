"""Names of outputs: the path of their image below its folder, no two alike."""
import logging
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from mmengine.logging import print_log
from torch.utils.data import Dataset

from mmwhitebox.errors import joined

WILDCARDS = '*?['
SHOWN = 3


def output_names(paths: Iterable[str | Path], roots: Iterable[str | Path]) -> list[str]:
    """A name, without suffix, for what is written of each image.

    It is the path below the deepest of the roots that holds the image, or else the file's name. Of several roots that
    hold the same path, the name of the folder comes first. Where two images would share a name (``a.jpg`` beside
    ``a.png``), a number follows that makes it no image's own, and a line says so.

    Args:
        paths (Iterable[str | Path]): Images.
        roots (Iterable[str | Path]): Folders.

    Returns:
        list[str]: Names such as 'city/street_0001', no two alike.
    """
    paths = list(map(str, paths))
    roots = sorted((os.path.abspath(root) for root in roots), key=len, reverse=True)
    places: dict[str, tuple[str, str]] = {}  # folder of an image -> its root, and the path from there to it
    firsts: dict[str, str] = {}  # name -> the root where it was met first
    found, several = [], set()
    for path in paths:
        folder, _, file = path.rpartition(os.sep)
        if folder not in places:
            full = os.path.abspath(folder or (os.sep if path[:1] == os.sep else '.'))
            root = next((root for root in roots if Path(full).is_relative_to(root)), full)
            below = os.path.relpath(full, root)
            places[folder] = (root, '' if below == '.' else below.replace(os.sep, '/') + '/')
        root, below = places[folder]
        stem = below + os.path.splitext(file)[0]
        found.append((root, stem))
        if firsts.setdefault(stem, root) != root:
            several.add(stem)
    stems = [f'{os.path.basename(root)}/{stem}' if stem in several else stem for root, stem in found]
    own = set(stems)
    if len(own) == len(stems):
        return stems
    names, taken = [], set()
    for stem in stems:
        name, number = stem, 1
        while name in taken or (number > 1 and name in own):
            number += 1
            name = f'{stem}_{number}'
        taken.add(name)
        names.append(name)
    renamed = [f'{path} -> {name}' for path, stem, name in zip(paths, stems, names) if name != stem]
    print_log(f'Images that share a name are numbered: {joined(renamed, SHOWN)}', 'current', logging.WARNING)
    return names


def source_root(source: str | Path) -> Path:
    """Folder below which the images of a source keep their paths: a folder itself, what a glob starts with."""
    path = Path(source).expanduser()
    if path.is_dir():
        return path
    fixed = path.parent
    while any(sign in str(fixed) for sign in WILDCARDS) and not fixed.exists():
        fixed = fixed.parent
    return fixed


def leaves(dataset: Dataset) -> Iterator[Dataset]:
    """The datasets inside wrappers (ConcatDataset, RepeatDataset, ...)."""
    inner = getattr(dataset, 'datasets', None) or [getattr(dataset, 'dataset', None)]
    for part in inner:
        if part is None:
            yield dataset
        else:
            yield from leaves(part)


def dataset_names(dataset: Dataset) -> dict[str, str]:
    """Image path -> name of its outputs, see :func:`output_names`; empty for a dataset without files.

    The roots are the ``img_path`` of the data set and of those within it.
    """
    paths, roots = [], []
    for leaf in leaves(dataset):
        roots.append((getattr(leaf, 'data_prefix', None) or {}).get('img_path') or getattr(leaf, 'data_root', None))
        if hasattr(leaf, 'get_data_info'):
            paths += [leaf.get_data_info(i).get('img_path') for i in range(len(leaf))]
    paths = list(dict.fromkeys(path for path in paths if path))
    return dict(zip(paths, output_names(paths, [root for root in roots if root])))
