"""Masks as image files: which files are masks, and whether there is one of an image or several."""
import collections
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from PIL import Image

from ..image_io import BROKEN_IMAGE
from .matching import File, Match, image_file, mask_file, match
from .pairs import Pairs, Sample, noted
from .paths import parent, stem, suffix
from .walking import Found, suffixes_of
from .words import Place, preference

PHOTOGRAPHS = ('.jpg', '.jpeg')
INSTANCE = 'object'
LOOKED_AT = 5
FEW = 40  # values of a mask at most, to know it by its content


def find_masks(found: Found, where: dict[str, Place]) -> Pairs | None:
    """Pairs of 'masks' or 'binary'; None if no file is known as a mask."""
    images, masks = _roles(found, where)
    if not masks:
        return None
    matches, lost = match(images, masks)
    matches, problems = _one_source(matches)
    several = {path for path, those in matches.items() if len(those) > 1}
    samples = []
    if several:
        names = _names(matches)
        classes = sorted({name for those in names.values() for name in those})
    for file in images:
        those = matches.get(file.path)
        if those:
            split = file.place.split or those[0].file.place.split
            order = sorted(range(len(those)), key=lambda i: those[i].file.path)
            samples.append(Sample(found.root / file.path, tuple(found.root / those[i].file.path for i in order),
                                  tuple(names[file.path][i] for i in order) if several else (), split))
    alone = [file.path for file in images if file.path not in matches or not matches[file.path]]
    problems += _told(alone, [file.path for file in lost], found, matches, images)
    return Pairs(found.root, 'binary' if several else 'masks', samples, classes if several else None,
                 unlabelled=[found.root / path for path in alone], problems=problems)


def _roles(found: Found, where: dict[str, Place]) -> tuple[list[File], list[File]]:
    """Images and masks among the image files."""
    place = {path: where[parent(path)] for path in found.images}
    masks = {path for path in found.images if place[path].role == 'mask'}
    free = [path for path in found.images if path not in masks]
    masks |= _by_affix(free, place)
    if not masks:
        masks = _by_suffix(free, place) or _by_content(free, place, found.root)
    return ([image_file(path, place[path]) for path in found.images if path not in masks],
            [mask_file(path, place[path]) for path in found.images if path in masks])


def _by_affix(free: Iterable[str], place: dict[str, Place]) -> set[str]:
    """Files named as the mask of another (a_mask.png beside a.jpg): of a folder all, if half of them have the other."""
    files = [mask_file(path, place[path]) for path in free]
    stems = {form for file in files if not file.source[1] for form in (file.stem, file.core)}
    folders = collections.defaultdict(list)
    for file in files:
        if file.source[1]:
            folders[parent(file.path)].append(file)
    return {file.path for those in folders.values() for file in those
            if 2 * sum(bool({other.bare, other.core} & stems) for other in those) >= len(those)}


def _by_suffix(free: Iterable[str], place: dict[str, Place]) -> set[str]:
    """Files that share their names with a JPEG in the same folder (a.png beside a.jpg), if half of the folder does."""
    folders = collections.defaultdict(lambda: collections.defaultdict(list))
    for path in free:
        folders[parent(path)][stem(path).lower()].append(path)
    masks = set()
    for stems in folders.values():
        twins = [those for those in stems.values()
                 if len(those) == 2 and sum(path.lower().endswith(PHOTOGRAPHS) for path in those) == 1]
        if 2 * len(twins) >= len(stems):
            masks |= {path for those in twins for path in those if not path.lower().endswith(PHOTOGRAPHS)}
    return masks


def _by_content(free: Iterable[str], place: dict[str, Place], root: Path) -> set[str]:
    """Of two folders with the same names under them, that whose pictures have few values."""
    families = collections.defaultdict(dict)
    for path in free:
        rest = place[path].rest
        if not rest:
            return set()
        families[rest[0]][place[path].split, *rest[1:], stem(path).lower()] = path
    if len(families) != 2:
        return set()
    (a, these), (b, those) = families.items()
    both = sorted(these.keys() & those.keys(), key=str)
    if 5 * len(both) < 4 * max(len(these), len(those)):
        return set()
    few = [all(_few_values(root / family[key]) for key in both[:LOOKED_AT]) for family in (these, those)]
    return set() if few[0] == few[1] else set((these if few[0] else those).values())


def _few_values(path: Path) -> bool:
    try:
        with Image.open(path) as image:
            return len(np.unique(np.asarray(image).reshape(image.size[0] * image.size[1], -1), axis=0)) <= FEW
    except BROKEN_IMAGE:
        return True


def _one_source(matches: dict[str, list[Match]]) -> tuple[dict[str, list[Match]], list[str]]:
    """Of several kinds of masks of the same images (indices, colours, instances) keep the preferred, and tell."""
    of_source = collections.defaultdict(set)
    for path, those in matches.items():
        for one in those:
            of_source[one.file.source].add(path)
    most = max(map(len, of_source.values()), default=0)
    order = sorted(of_source, key=lambda source: (10 * len(of_source[source]) < 9 * most, preference(*source)))
    kept, covered, dropped = set(), set(), []
    for source in order:
        if 10 * len(of_source[source] & covered) <= len(of_source[source]):
            kept.add(source)
            covered |= of_source[source]
        else:
            dropped.append(source)
    files = [one.file.path for those in matches.values() for one in those if one.file.source in dropped]
    names = ', '.join(sorted({_source_name(source) for source in dropped}))
    lines = noted(f'masks of another kind, {names}, of the same images', files, 'they are left out, those named '
                  f'{", ".join(sorted(map(_source_name, kept)))} are taken; move these away to take the others.')
    chosen = {path: [one for one in those if one.file.source in kept] for path, those in matches.items()}
    return {path: those for path, those in chosen.items() if those}, lines


def _source_name(source: tuple[str, str]) -> str:
    folder, affix = source
    return ' '.join(filter(None, (folder and f'{folder}/', affix and f'*{affix}'))) or 'beside the images'


def _names(matches: dict[str, list[Match]]) -> dict[str, list[str]]:
    """The class of each mask of an image that may have several: by folder, by what follows the image's stem, or one."""
    rests = {one.file.place.rest for those in matches.values() for one in those}
    common = 0
    while all(len(rest) > common for rest in rests) and len({rest[common] for rest in rests}) == 1:
        common += 1
    by_folder = any(len({one.file.place.rest for one in those}) > 1 for those in matches.values())
    if by_folder:
        return {path: ['/'.join(one.file.place.rest[common:]) or INSTANCE for one in those]
                for path, those in matches.items()}
    extras = collections.Counter(one.extra for those in matches.values() for one in those if one.extra)
    # a name of a class occurs with several images; names that do not are those of instances
    shared = sum(count > 1 for count in extras.values()) * 2 > len(extras)
    classes = extras and shared and not all(extra.replace('_', '').isdigit() for extra in extras)
    return {path: [one.extra if classes and one.extra else INSTANCE for one in those]
            for path, those in matches.items()}


def _told(alone: list[str], lost: list[str], found: Found, matches: dict, images: list[File]) -> list[str]:
    lines = noted('images without a mask', alone, 'add masks of the same names, or take them out; they are '
                  'left out.')
    lines += noted('masks without an image', lost, 'add the images, or give both the same name; they are left out.')
    different = [one.file.path for image, those in matches.items() for one in those
                 if stem(image) not in stem(one.file.path)
                 and stem(image).lower() in one.file.stem]
    lines += noted('masks whose names differ from those of their images in capitals', different, 'they are paired '
                   'here; other programs will not: rename them.')
    masks = [one.file.path for those in matches.values() for one in those]
    for what, paths in (('images', [file.path for file in images]), ('masks', masks)):
        lines += mixed_suffixes(what, paths)
    return lines


def mixed_suffixes(what: str, paths: list[str]) -> list[str]:
    """A line if the same suffix is written in small and in capital letters."""
    forms = collections.defaultdict(collections.Counter)
    for path in paths:
        forms[suffix(path).lower()][suffix(path)] += 1
    usual = {lower: those.most_common(1)[0][0] for lower, those in forms.items() if len(those) > 1}
    rare = [path for path in paths if suffix(path).lower() in usual
            and suffix(path) != usual[suffix(path).lower()]]
    return noted(f'{what} whose suffix differs from the others in capitals, {suffixes_of(rare)}', rare,
                 'they are taken; programs that want one suffix miss them: rename them.')
