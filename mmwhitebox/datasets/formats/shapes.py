"""The shapes that COCO, YOLO, LabelMe and folders of binary masks state of an image."""
import base64
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from mmwhitebox.errors import AnnotationError

from ..image_io import BROKEN_IMAGE, QUARTER_TURNS, orientation_of
from .coco import category_names, is_coco, load_json
from .labelme import BACKGROUND, IGNORED, is_labelme
from .pairs import Pairs, Sample
from .polygons import Shape
from .values import read_mask
from .yolo import read_label

IGNORE_INDEX = 255


class Drawing(NamedTuple):
    """What is to be drawn of an image.

    Attributes:
        sample (Sample): The image.
        shapes (list[Shape]): In the order of the annotation.
        size (tuple[int, int] | None): (width, height) that the annotation states; None if it states none.
        odd (set[str]): 'points' (shapes without an area), 'names' (classes that are not listed), 'shape' (broken).
    """
    sample: Sample
    shapes: list[Shape]
    size: tuple[int, int] | None
    odd: set[str]


def upright_size(path: Path) -> tuple[int, int]:
    """(width, height) of an image as it is shown, from its header."""
    with Image.open(path) as image:
        width, height = image.size
        return (height, width) if orientation_of(image) in QUARTER_TURNS else (width, height)


def drawings(pairs: Pairs, index: dict[str, int]) -> Iterator[Drawing | tuple[Sample, str]]:
    """What is to be drawn of each sample, or the sample and why nothing can be.

    Args:
        pairs (Pairs): Of polygons or 'binary'.
        index (dict[str, int]): Index of each class.
    """
    if pairs.kind == 'coco':
        yield from _coco(pairs, index)
        return
    read = {'yolo': _yolo, 'labelme': _labelme, 'binary': _binary}[pairs.kind]
    labels = [index[name] for name in pairs.classes] if pairs.kind == 'yolo' else index
    for sample in pairs.samples:
        try:
            yield read(sample, labels)
        except (AnnotationError, *BROKEN_IMAGE) as error:
            yield sample, str(error)


def _coco(pairs: Pairs, index: dict[str, int]) -> Iterator[Drawing | tuple[Sample, str]]:
    for path in dict.fromkeys(sample.annotation[0] for sample in pairs.samples):
        content = load_json(path)
        samples = [sample for sample in pairs.samples if sample.annotation[0] == path]
        if not is_coco(content):
            yield from ((sample, f'{path}: no COCO json any more.') for sample in samples)
            continue
        images = {one['id']: one for one in content['images'] if isinstance(one, dict) and 'id' in one}
        names = category_names(content)
        of_image: dict[Any, list[dict]] = {}
        for one in content['annotations']:
            if isinstance(one, dict):
                of_image.setdefault(one.get('image_id'), []).append(one)
        for sample in samples:
            image = images.get(sample.entry, {})
            size = (image['width'], image['height']) if {'width', 'height'} <= image.keys() else None
            shapes, odd = [], set()
            for one in of_image.get(sample.entry, ()):
                label = index.get(names.get(one.get('category_id'), ''))
                stated = one.get('segmentation')
                if label is None:
                    odd.add('names')
                elif isinstance(stated, dict):
                    shapes.append(Shape(label, encoded=stated))
                elif isinstance(stated, list) and stated:
                    shapes.append(Shape(label, stated if isinstance(stated[0], list) else [stated]))
                else:
                    odd.add('points')
            yield Drawing(sample, shapes, size, odd)


def _yolo(sample: Sample, labels: list[int]) -> Drawing:
    if not sample.annotation:
        return Drawing(sample, [], None, set())
    rows = read_label(sample.annotation[0])
    if rows is None:
        raise AnnotationError(f'{sample.annotation[0]}: no lines of a class and coordinates.')
    size = upright_size(sample.image)
    shapes = [Shape(labels[number], [(np.reshape(points, (-1, 2)) * size).ravel().tolist()]) for number, points in rows]
    return Drawing(sample, shapes, size, set())


def _labelme(sample: Sample, index: dict[str, int]) -> Drawing:
    content = load_json(sample.annotation[0])
    if not is_labelme(content):
        raise AnnotationError(f'{sample.annotation[0]}: no LabelMe json.')
    width, height = content.get('imageWidth'), content.get('imageHeight')
    size = (width, height) if isinstance(width, int) and isinstance(height, int) else upright_size(sample.image)
    shapes, odd = [], set()
    for one in content['shapes']:
        try:
            name = str(one['label'])
            label = 0 if name in BACKGROUND else IGNORE_INDEX if name in IGNORED else index.get(name)
            shape = _labelme_shape(one, label or 0, size)
        except (KeyError, TypeError, ValueError, AttributeError, *BROKEN_IMAGE):
            odd.add('shape')
            continue
        if label is None:
            odd.add('names')
        elif shape is None:
            odd.add('points')
        else:
            shapes.append(shape)
    return Drawing(sample, shapes, size, odd)


def _labelme_shape(one: dict, label: int, size: tuple[int, int]) -> Shape | None:
    kind, points = one.get('shape_type') or 'polygon', np.asarray(one['points'], np.float64).reshape(-1, 2)
    if kind == 'polygon':
        return Shape(label, [points.ravel().tolist()])
    if kind == 'rectangle':
        (left, top), (right, bottom) = points
        return Shape(label, [[left, top, right, top, right, bottom, left, bottom]])
    if kind == 'circle':
        angles = np.linspace(0, 2 * np.pi, 128, endpoint=False)
        around = points[0] + np.hypot(*(points[1] - points[0])) * np.stack([np.cos(angles), np.sin(angles)], 1)
        return Shape(label, [around.ravel().tolist()])
    if kind == 'mask':
        with Image.open(io.BytesIO(base64.b64decode(one['mask']))) as image:
            part = np.asarray(image) > 0
        left, top = points[0].astype(int)
        area = np.zeros(size[::-1], bool)
        if left < 0 or top < 0 or area[top:, left:].shape < part.shape:
            raise ValueError('a mask outside the image')
        area[top:top + part.shape[0], left:left + part.shape[1]] = part
        return Shape(label, area=area)
    return None


def _binary(sample: Sample, index: dict[str, int]) -> Drawing:
    size = upright_size(sample.image)
    shapes = []
    for path, name in zip(sample.annotation, sample.names):
        labels = read_mask(path).labels
        if labels.shape != size[::-1]:
            raise AnnotationError(f'{path}: {labels.shape[1]} x {labels.shape[0]} pixels, its image {size[0]} x '
                                  f'{size[1]}.')
        if labels.any():
            shapes.append(Shape(index[name], area=labels > labels.max() / 2))
    return Drawing(sample, shapes, size, set())
