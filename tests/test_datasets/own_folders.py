"""Folders as people have them, generated: each function writes one under a path and returns it.

The pictures show rectangles on noise; ``LABELS`` of image i is what an index mask of it holds.
"""
import base64
import io
import json
import zlib
from pathlib import Path

import numpy as np
import yaml
from PIL import Image
from pycocotools import mask as rle

WIDTH, HEIGHT = 40, 32
CLASSES = ('road', 'car')
COLOURS = {0: (0, 0, 0), 1: (128, 64, 128), 2: (0, 0, 142)}


def boxes(number: int) -> list[tuple[int, int, int, int, int]]:
    """(class index, left, top, right, bottom) of the rectangles of image ``number``, the larger first."""
    shift = number % 4
    return [(1, 2 + shift, 4, 30 + shift, 28), (2, 8 + shift, 8, 16 + shift, 16)]


def labels(number: int) -> np.ndarray:
    """(H, W) uint8: 0 background, 1 road, 2 car."""
    array = np.zeros((HEIGHT, WIDTH), np.uint8)
    for label, left, top, right, bottom in boxes(number):
        array[top:bottom, left:right] = label
    return array


def picture(number: int, channels: int = 3) -> np.ndarray:
    """(H, W, C) uint8."""
    noise = np.random.default_rng(number).integers(0, 40, (HEIGHT, WIDTH, channels), np.uint8)
    return noise + (90 * labels(number)[..., None]).astype(np.uint8)


def save(path: Path, array: np.ndarray, **options) -> Path:
    """Save an array as an image; folders are made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path, **options)
    return path


def save_palette(path: Path, array: np.ndarray) -> Path:
    """Save indices with a palette of ``COLOURS``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(array)
    image.putpalette([channel for colour in COLOURS.values() for channel in colour])
    image.save(path)
    return path


def coloured(array: np.ndarray) -> np.ndarray:
    """The colours of indices."""
    return np.array([COLOURS[i] for i in range(3)], np.uint8)[array]


def sparse(array: np.ndarray) -> np.ndarray:
    """0 and 255."""
    return np.where(array > 0, 255, 0).astype(np.uint8)


def pairs_of(root: Path, image: str = 'images/{i:03}.jpg', mask: str = 'masks/{i:03}.png', count: int = 6,
             encode=lambda array: array, start: int = 0) -> Path:
    """One mask of each image; ``encode`` turns indices into what is saved."""
    for i in range(start, start + count):
        save(root / image.format(i=i), picture(i))
        save(root / mask.format(i=i), encode(labels(i)))
    return root


def in_splits(root: Path, image: str, mask: str, splits: tuple = ('train', 'val'), **options) -> Path:
    """``pairs_of`` for each split, of which ``{split}`` in the paths is the name."""
    for number, split in enumerate(splits):
        pairs_of(root, image.replace('{split}', split), mask.replace('{split}', split), start=10 * number, **options)
    return root


def per_class(root: Path, count: int = 4) -> Path:
    """``images/a.jpg``, ``masks/CLASS/a.png`` of 0 and 255."""
    for i in range(count):
        save(root / f'images/{i:03}.jpg', picture(i))
        for label, name in enumerate(CLASSES, 1):
            save(root / f'masks/{name}/{i:03}.png', sparse(labels(i) == label))
    return root


def per_instance(root: Path, count: int = 4, split: str = 'stage1_train') -> Path:
    """``ID/images/ID.png``, ``ID/masks/*.png``, as the Data Science Bowl 2018 came."""
    for i in range(count):
        save(root / f'{split}/id{i}/images/id{i}.png', picture(i))
        for j in range(3):
            area = np.zeros((HEIGHT, WIDTH), np.uint8)
            area[4:10, 4 + 10 * j:10 + 10 * j] = 255
            name = format(zlib.crc32(f'{split} {i} {j}'.encode()), '08x')
            save(root / f'{split}/id{i}/masks/{name}.png', area)
    return root


def polygon(left: int, top: int, right: int, bottom: int) -> list[float]:
    """x1, y1, ... of a rectangle."""
    return [left, top, right, top, right, bottom, left, bottom]


def coco_content(numbers, name: str = '{i:03}.jpg', encoded: bool = False) -> dict:
    """The content of a COCO json; ``encoded``: the car as RLE, in both forms, instead of a polygon."""
    annotations = []
    for i in numbers:
        for label, *box in boxes(i):
            shape = [polygon(*box)]
            if encoded and label == 2:
                area = np.asfortranarray(labels(i) == 2).astype(np.uint8)
                compressed = rle.encode(area)
                runs = np.diff(np.flatnonzero(np.diff(np.r_[-1, area.ravel('F').astype(int), -1]) != 0))
                shape = dict(size=[HEIGHT, WIDTH], counts=compressed['counts'].decode() if i % 2 else [
                    *([] if area.flat[0] == 0 else [0]), *runs.tolist()])
            annotations.append(dict(id=len(annotations) + 1, image_id=100 + i, category_id=10 * label, iscrowd=int(
                encoded and label == 2), segmentation=shape, bbox=[0, 0, 1, 1], area=1))
    return dict(images=[dict(id=100 + i, file_name=name.format(i=i), width=WIDTH, height=HEIGHT) for i in numbers],
                annotations=annotations, categories=[dict(id=20, name='car'), dict(id=10, name='road')])


def coco(root: Path, splits: tuple = ('train', 'val'), encoded: bool = False) -> Path:
    """``annotations/instances_SPLIT2017.json``, ``SPLIT2017/*.jpg``."""
    for number, split in enumerate(splits):
        numbers = range(10 * number, 10 * number + 4)
        for i in numbers:
            save(root / f'{split}2017/{i:03}.jpg', picture(i))
        write_json(root / f'annotations/instances_{split}2017.json', coco_content(numbers, encoded=encoded))
    return root


def write_json(path: Path, content) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
    return path


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def yolo(root: Path, splits: tuple = ('train', 'val'), names: bool = True) -> Path:
    """``images/SPLIT/*.jpg``, ``labels/SPLIT/*.txt``, ``data.yaml``."""
    for number, split in enumerate(splits):
        for i in range(10 * number, 10 * number + 4):
            save(root / f'images/{split}/{i:03}.jpg', picture(i))
            lines = []
            for label, *box in boxes(i):
                points = np.reshape(polygon(*box), (-1, 2)) / (WIDTH, HEIGHT)
                lines.append(' '.join(map(str, [label - 1, *points.ravel().tolist()])))
            write(root / f'labels/{split}/{i:03}.txt', '\n'.join(lines) + '\n')
    if names:
        write(root / 'data.yaml', yaml.safe_dump(dict(
            path='.', **{split: f'images/{split}' for split in splits}, names=dict(enumerate(CLASSES)))))
    return root


def labelme_content(number: int, name: str) -> dict:
    """A LabelMe json: the road as a polygon, the car as a rectangle or a mask."""
    (_, *road), (_, left, top, right, bottom) = boxes(number)
    car = dict(label='car', points=[[left, top], [right, bottom]], shape_type='rectangle')
    if number % 2:
        file = io.BytesIO()
        Image.fromarray(np.ones((bottom - top, right - left), bool)).save(file, 'PNG')
        car.update(shape_type='mask', mask=base64.b64encode(file.getvalue()).decode(),
                   points=[[left, top], [right - 1, bottom - 1]])
    shape = dict(label='road', points=np.reshape(polygon(*road), (-1, 2)).tolist(), shape_type='polygon')
    return dict(version='5.4.1', flags={}, shapes=[car, shape], imagePath=name, imageData=None, imageHeight=HEIGHT,
                imageWidth=WIDTH)


def labelme(root: Path, count: int = 4) -> Path:
    """``a.jpg`` and ``a.json``."""
    for i in range(count):
        save(root / f'{i:03}.jpg', picture(i))
        write_json(root / f'{i:03}.json', labelme_content(i, f'{i:03}.jpg'))
    return root


def class_folders(root: Path, pattern: str = '{name}/{i}.jpg', names: tuple = ('cat', 'dog'), count: int = 4) -> Path:
    """A folder of each class."""
    for name in names:
        for i in range(count):
            save(root / pattern.format(name=name, i=i), picture(i))
    return root


def table(root: Path, header: str = 'file_name,label', row: str = '{i:03}.jpg,{label}', count: int = 6,
          name: str = 'labels.csv') -> Path:
    """``images/*.jpg`` and a csv; the labels are cat and dog by turns."""
    for i in range(count):
        save(root / f'images/{i:03}.jpg', picture(i))
    rows = [row.format(i=i, label=('cat', 'dog')[i % 2], cat=1 - i % 2, dog=i % 2) for i in range(count)]
    write(root / name, '\n'.join([*([header] if header else []), *rows]) + '\n')
    return root
