"""Finding the images of a folder and what is annotated of them."""
import collections
import filecmp
from collections.abc import Callable
from pathlib import Path

from mmwhitebox.errors import ConfigError, DatasetLayoutError

from .class_folders import find_classes
from .coco import find_coco
from .colours import read_names
from .labelme import find_labelme
from .lists import apply_lists
from .masks import find_masks
from .pairs import KINDS, Pairs, noted
from .tables import find_table
from .walking import Found, suffixes_of, walk
from .words import Place, places
from .yolo import find_yolo

FINDERS: dict[str, Callable[[Found, dict[str, Place]], Pairs | None]] = {
    'coco': find_coco, 'labelme': find_labelme, 'yolo': find_yolo, 'masks': find_masks, 'csv': find_table,
    'classes': find_classes}
ORDER = ('masks', 'coco', 'labelme', 'yolo', 'csv', 'classes')
IN_TWO_SPLITS = 'images that lie in two splits'
ENOUGH = 0.5  # masks are taken before polygons if so many of the images have one
LAYOUTS = '''Folders that are understood, each with or without train/ and val/ or lists train.txt and val.txt:
  images/a.jpg masks/a.png (or labels/, gt/, annotations/, ...)      a.jpg a_mask.png (or _gt, _label, _labelIds, ...)
  images/a.jpg masks/CLASS/a.png      ID/images/ID.png ID/masks/*.png      images/a.jpg labels/a.txt (YOLO polygons)
  images/a.jpg with a COCO json       a.jpg a.json (LabelMe)      CLASS/a.jpg      a csv of names and labels'''


def find_pairs(folder: str | Path, kind: str | None = None) -> Pairs:
    """Find images and their annotations in a folder, however they are named. Nothing in it is changed.

    Masks are taken first, if half of the images have one, then polygons, tables, class folders. Images are not
    decoded: :func:`look` does that.

    Args:
        folder (str | Path): All of the data set.
        kind (str, optional): Of :data:`KINDS`, where a folder holds several kinds. Defaults to None: as above.

    Returns:
        Pairs: See there; ``problems`` says what was left out and why.

    Raises:
        DatasetLayoutError: No such folder, no images, or no annotation of any image; the message says what there is.
        ConfigError: ``kind`` is none of :data:`KINDS`.
    """
    if kind is not None and kind not in KINDS:
        raise ConfigError(f'kind={kind!r} must be one of {", ".join(KINDS)}.')
    root = Path(folder).expanduser()
    found = walk(root)
    where = places([*found.images, *found.others])
    candidates, tried = [], []
    for name in (('masks' if kind == 'binary' else kind, ) if kind else ORDER):
        lost_masks = any(other.kind == 'masks' and not other.samples for other in tried)
        pairs = None if name == 'classes' and lost_masks else FINDERS[name](found, where)
        if pairs is None:
            continue
        tried.append(pairs)
        if pairs.samples:
            candidates.append(pairs)
            whole = len(pairs.samples) + len(pairs.unlabelled)
            if name != 'masks' or len(pairs.samples) >= ENOUGH * whole:
                break
    if not candidates:
        raise DatasetLayoutError(_nothing(found, where, tried, kind))
    pairs = candidates[-1] if len(candidates) > 1 and candidates[-1].kind not in ('csv', 'classes') else candidates[0]
    pairs = pairs.but(problems=[*found.problems, *pairs.problems], samples=sorted(pairs.samples, key=lambda s: s.image),
                      split_source=pairs.split_source or ('folders' if any(s.split for s in pairs.samples) else None))
    pairs = apply_lists(pairs, found)
    if pairs.kind in ('masks', 'binary'):
        names, colours, lines = read_names(found)
        pairs = pairs.but(classes=pairs.classes or names, colours=colours, problems=[*pairs.problems, *lines])
    return pairs.but(problems=[*pairs.problems, *_in_two_splits(pairs)])


def _nothing(found: Found, where: dict[str, Place], tried: list[Pairs], kind: str | None) -> str:
    lines = [f'{found.root}: {len(found.images)} images ({suffixes_of(found.images)}), but no annotation of them'
             + (f' of kind {kind!r}.' if kind else '.')]
    for pairs in tried:
        lines += pairs.problems
    return '\n'.join([*lines, *found.problems, LAYOUTS])


def _in_two_splits(pairs: Pairs) -> list[str]:
    """A line for images of the same name and bytes in two splits."""
    names = collections.defaultdict(list)
    for sample in pairs.samples:
        names[sample.image.name].append(sample)
    sizes = collections.defaultdict(list)
    for those in names.values():
        if len({sample.split for sample in those}) > 1:
            for sample in those:
                sizes[sample.image.name, sample.image.stat().st_size].append(sample)
    twice = [one.image for those in sizes.values() for i, one in enumerate(those)
             if any(one.split != other.split and filecmp.cmp(one.image, other.image, shallow=False)
                    for other in those[:i])]
    return noted(IN_TWO_SPLITS, twice, 'what is trained on cannot be validated on: delete them from one.', pairs.root)
