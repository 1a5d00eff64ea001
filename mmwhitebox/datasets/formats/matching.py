"""Which annotation belongs to which image, by their names."""
import collections
import re
from collections.abc import Iterable
from typing import NamedTuple

from .paths import stem
from .words import Place, bare_image, bare_mask


class File(NamedTuple):
    """A file by what its name says.

    ``stem`` is in small letters; ``bare`` is without what says mask, ``core`` also without what says image; ``source``
    is (folder that says mask, affix that does), ``number`` that after the affix.
    """
    path: str
    place: Place
    stem: str
    bare: str
    core: str
    source: tuple[str, str] = ('', '')
    number: str = ''


class Match(NamedTuple):
    """An annotation of an image; ``extra`` is what follows the image's stem in its name, beyond known words."""
    file: File
    extra: str = ''


def image_file(path: str, place: Place) -> File:
    """A file as an image."""
    name = stem(path).lower()
    return File(path, place, name, name, bare_image(name))


def mask_file(path: str, place: Place) -> File:
    """A file as a mask or another annotation."""
    name = stem(path).lower()
    bare, affix, number = bare_mask(name)
    return File(path, place, name, bare, bare_image(bare), (place.source, affix), number)


def lower(parts: Iterable[str]) -> tuple[str, ...]:
    return tuple(part.lower() for part in parts)


def _places(file: File, level: str) -> tuple:
    """What must be equal of the folders."""
    rest = lower(file.place.rest)
    return {'all': (file.place.split, rest), 'rest': rest, 'split': (file.place.split, ), 'none': ()}[level]


LEVELS = [  # the folders that must be equal, the name of the annotation and that of the image; the strictest first
    (folders, *names) for folders in ('all', 'rest', 'split', 'none')
    for names in (('stem', 'stem'), ('bare', 'stem'), ('core', 'core'))]


def match(images: list[File], annotations: list[File]) -> tuple[dict[str, list[Match]], list[File]]:
    """Give each annotation to an image.

    Tried in turn: :data:`LEVELS`, where an annotation goes to the only image that is equal; the only image
    of the same folder (``ID/images/ID.png``, ``ID/masks/*.png``); the stem of an image that the annotation's begins
    with, up to a separator.

    Returns:
        tuple: Path of an image -> its annotations; the annotations without an image.
    """
    found, left = collections.defaultdict(list), annotations
    for level, of_mask, of_image in LEVELS:
        if not left:
            break
        index = collections.defaultdict(list)
        for file in images:
            index[_places(file, level), getattr(file, of_image)].append(file)
        rest = []
        for file in left:
            there = index.get((_places(file, level), getattr(file, of_mask)), ())
            if len(there) == 1:
                found[there[0].path].append(Match(file))
            else:
                rest.append(file)
        left = rest
    left = _only_image(images, left, found)
    return found, _longer_names(images, left, found)


def _only_image(images: list[File], left: list[File], found: dict) -> list[File]:
    groups = collections.defaultdict(list)
    for file in images:
        groups[file.place.split, lower(file.place.rest)].append(file)
    rest = []
    for file in left:
        there = groups.get((file.place.split, lower(file.place.rest)), ()) if file.place.rest else ()
        if len(there) == 1:
            found[there[0].path].append(Match(file, file.stem))
        else:
            rest.append(file)
    return rest


def _longer_names(images: list[File], left: list[File], found: dict) -> list[File]:
    index = collections.defaultdict(list)
    for file in images:
        index[file.stem].append(file)
    rest = []
    taken = {path for path, matches in found.items() if matches}
    for file in left:
        for cut in [gap.start() for gap in re.finditer(r'[\W_]+', file.stem)][::-1]:
            there = index.get(file.stem[:cut], ())
            if len(there) > 1:
                there = [image for image in there if image.place.split == file.place.split]
            if len(there) == 1 and there[0].path not in taken:
                found[there[0].path].append(Match(file, file.stem[cut:].strip('_-. ()')))
                break
        else:
            rest.append(file)
    return rest
