"""Index masks out of polygons, RLE and binary files, in a cache that is keyed by content."""
import collections
import hashlib
import os
import uuid
from pathlib import Path

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from mmwhitebox.errors import AnnotationError, WriteError

from ..image_io import BROKEN_IMAGE
from .labelme import BACKGROUND
from .pairs import POLYGONS, Pairs, noted
from .polygons import draw
from .shapes import Drawing, drawings, upright_size

FORMAT = 1  # raised when the same annotation would be drawn otherwise
MOST_CLASSES = 255
LONGEST = 100  # characters of the image's name in that of its mask
ODD = {
    'outside': ('annotations with polygons outside the image', 'they are cut at its border; see that the annotation '
                'is that of this image, at this size.'),
    'broken': ('annotations with a polygon of less than three points or no numbers, or RLE of another size',
               'these shapes are left out; correct them.'),
    'shape': ('annotations with a shape that cannot be read', 'it is left out; draw it again.'),
    'empty': ('annotations with a shape of no pixel', 'it is left out; delete it if it is a slip.'),
    'points': ('annotations with shapes that have no area (boxes, points, lines)', 'these are left out; draw polygons '
               'if they mean something.'),
    'names': ('annotations of a class that is not listed', 'these shapes are left out; list the class.'),
}


def rasterize(pairs: Pairs, cache_folder: str | Path) -> Pairs:
    """Draw the polygons, RLE or binary files of each sample as an index mask, a PNG with a palette.

    Index 0 is 'background', what nothing covers; the classes follow in their order (a class of that name is 0
    itself). Where areas overlap, smaller ones lie on top of larger, of equal ones the later; crowds are areas like
    others. LabelMe's ``__ignore__`` becomes 255. Polygons are drawn by pycocotools at the size that the annotation
    states, which must be that of the image.

    The name of a mask holds a hash of the shapes, the classes and the version of this drawing: what is there is not
    drawn again, and a mask that is half written never bears its name.

    Args:
        pairs (Pairs): Of any kind; others than polygons and 'binary' come back as they are.
        cache_folder (str | Path): Made if need be.

    Returns:
        Pairs: Of 'masks', with ``classes``; ``problems`` gains what was odd.

    Raises:
        AnnotationError: More classes than 8 bits hold, or no sample that can be drawn.
        WriteError: The folder cannot be written to.
    """
    if pairs.kind not in (*POLYGONS, 'binary'):
        return pairs
    named = list(pairs.classes or ())
    classes = ['background', *(name for name in dict.fromkeys(named) if name not in BACKGROUND)]
    if len(classes) > MOST_CLASSES:
        raise AnnotationError(f'{pairs.root}: {len(classes)} classes with the background, masks of 8 bits hold '
                              f'{MOST_CLASSES}.')
    index = {name: 0 if name in BACKGROUND else classes.index(name) for name in named}
    cache = Path(cache_folder).expanduser()
    try:
        cache.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise WriteError(f'{cache}: cannot make this folder for masks ({error.strerror}).') from error
    samples, odd, broken, sizes = [], collections.defaultdict(list), [], []
    for one in drawings(pairs, index):
        if not isinstance(one, Drawing):
            broken.append(one[0].annotation[0])
            continue
        try:
            size = upright_size(one.sample.image)
        except BROKEN_IMAGE:
            broken.append(one.sample.image)
            continue
        if one.size not in (None, size):
            sizes.append(one.sample.image)
            continue
        path, seen = _mask(one, size, classes, cache)
        for kind in seen:
            odd[kind].append(one.sample.image)
        samples.append(one.sample._replace(annotation=(path, ), names=(), entry=None))
    problems = [line for kind, (what, do) in ODD.items() for line in noted(what, odd[kind], do, pairs.root)]
    problems += noted('images or annotations that cannot be read, or differ in size', broken,
                      'correct them; they are left out.', pairs.root)
    problems += noted('images of another size than their annotation states', sizes, 'annotate the images as '
                      'they are, or bring back their size; they are left out.', pairs.root)
    if not samples:
        raise AnnotationError('\n'.join([f'{pairs.root}: no annotation that can be drawn.', *problems]))
    samples.sort(key=lambda sample: sample.image)
    return pairs.but(kind='masks', samples=samples, classes=classes, problems=[*pairs.problems, *problems])


def _mask(one: Drawing, size: tuple[int, int], classes: list[str], cache: Path) -> tuple[Path, set[str]]:
    """The mask of a drawing, drawn if it is not there, and what is odd in it."""
    digest = hashlib.blake2b(repr((FORMAT, size, classes, sorted(one.odd))).encode(), digest_size=12)
    for shape in one.shapes:
        digest.update(repr((shape.label, shape.polygons, shape.encoded)).encode())
        if shape.area is not None:
            digest.update(np.packbits(shape.area).tobytes())
    path = cache / f'{one.sample.image.stem[:LONGEST]}-{digest.hexdigest()}.png'
    try:
        with Image.open(path) as image:
            return path, set(image.info.get('odd', '').split())
    except BROKEN_IMAGE:
        pass
    drawn = draw(one.shapes, *size)
    odd = drawn.odd | one.odd
    image, notes = Image.fromarray(drawn.labels), PngInfo()
    image.putpalette(palette().ravel().tolist())
    notes.add_text('odd', ' '.join(sorted(odd)))
    _write(image, notes, path)
    return path, odd


def palette() -> np.ndarray:
    """(256, 3) uint8: black for the background, white for 255, else colours far apart at random, always the same."""
    colours = np.random.default_rng(0).integers(32, 256, (256, 3), np.uint8)
    colours[0], colours[255] = 0, 255
    return colours


def _write(image: Image.Image, notes: PngInfo, path: Path) -> None:
    """Write a PNG under a name of its own, then give it its name."""
    temporary = path.with_name(f'.{uuid.uuid4().hex}.tmp')
    try:
        try:
            image.save(temporary, 'PNG', pnginfo=notes)
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise WriteError(f'{path}: cannot write this mask ({error.strerror or error}).') from error
