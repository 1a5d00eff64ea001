"""Miniatures of published data sets, in the layout and with the values of masks that mmseg's converters leave."""
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

SIZE = (48, 32)  # width, height
SAMPLES = 2  # of a split
IGNORED = 255


def grey(labels: np.ndarray) -> Image.Image:
    """The labels as they are."""
    return Image.fromarray(labels)


def from_one(labels: np.ndarray) -> Image.Image:
    """Classes from 1 on; 0 is ignored."""
    return Image.fromarray(np.where(labels == IGNORED, 0, labels + 1).astype(np.uint8))


def palette(labels: np.ndarray) -> Image.Image:
    """An image with a table of colours; its values are the labels."""
    image = Image.fromarray(labels)
    image.putpalette(np.random.default_rng(0).integers(0, 256, 768, np.uint8).tobytes())
    return image


class Published(NamedTuple):
    """What a data set looks like on a disk.

    ``image`` and ``mask`` are paths from the root, with ``{split}`` and ``{name}``; ``names`` the samples' names, with
    ``{i}``; ``known`` a value in the files and the class that it means, as the authors have it. ``beside`` are other
    files of a sample, which are not to be taken, and ``listed`` is the file with a split's names.
    """
    root: str
    image: str
    mask: str
    names: str
    classes: int
    known: tuple[int, str]
    encode: Callable[[np.ndarray], Image.Image] = grey
    ignores: bool = True
    splits: tuple[str, str] = ('train', 'val')
    beside: str | None = None
    listed: str | None = None
    image_format: str | None = None
    crop: int = 512
    more: tuple['Published', ...] = ()  # what is trained on as well


CONTEXT = Published(
    'PASCAL_CONTEXT_ROOT', 'JPEGImages/{name}.jpg', 'SegmentationClassContext/{name}.png', '2008_00000{i}', 60,
    (1, 'aeroplane'), ignores=False, listed='ImageSets/SegmentationContext/{split}.txt', crop=480,
    beside='SegmentationClass/{name}.png')
VOC = Published(
    'VOC2012_ROOT', 'JPEGImages/{name}.jpg', 'SegmentationClass/{name}.png', '2007_00000{i}', 21, (15, 'person'),
    palette, listed='ImageSets/Segmentation/{split}.txt')
TILES = Published(
    'POTSDAM_ROOT', 'img_dir/{split}/{name}.png', 'ann_dir/{split}/{name}.png', '2_1{i}_0_0_512_512', 6,
    (2, 'building'), from_one)
VESSELS = Published(
    'DRIVE_ROOT', 'images/{split}/{name}.png', 'annotations/{split}/{name}_manual1.png', '2{i}', 2, (1, 'vessel'),
    ignores=False, splits=('training', 'validation'), beside='annotations/{split}/{name}_manual2.png', crop=256)
PUBLISHED = {
    'cityscapes': Published(
        'CITYSCAPES_ROOT', 'leftImg8bit/{split}/ulm/{name}_leftImg8bit.png',
        'gtFine/{split}/ulm/{name}_gtFine_labelTrainIds.png', 'ulm_00000{i}_000019', 19, (11, 'person'),
        beside='gtFine/{split}/ulm/{name}_gtFine_labelIds.png', crop=768),
    'pascal_context': CONTEXT,
    'pascal_context_59': CONTEXT._replace(classes=59, encode=from_one, ignores=True),
    'pascal_voc12': VOC,
    'pascal_voc12_aug': VOC._replace(more=(VOC._replace(
        mask='SegmentationClassAug/{name}.png', names='2008_00010{i}', encode=grey, splits=('aug', 'aug')), )),
    'coco_stuff164k': Published(
        'COCO_STUFF164K_ROOT', 'images/{split}/{name}.jpg', 'annotations/{split}/{name}_labelTrainIds.png',
        '00000000013{i}', 171, (0, 'person'), splits=('train2017', 'val2017'), beside='annotations/{split}/{name}.png'),
    'coco_stuff10k': Published(
        'COCO_STUFF10K_ROOT', 'images/{split}/{name}.jpg', 'annotations/{split}/{name}_labelTrainIds.png',
        'COCO_train2014_00000000007{i}', 171, (1, 'person'), from_one, splits=('train2014', 'test2014')),
    'loveda': TILES._replace(root='LOVEDA_ROOT', names='252{i}', classes=7),
    'potsdam': TILES,
    'vaihingen': TILES._replace(root='VAIHINGEN_ROOT', names='area1{i}_0_0_512_512'),
    'isaid': TILES._replace(
        root='ISAID_ROOT', mask='ann_dir/{split}/{name}_instance_color_RGB.png', names='P000{i}_0_896_0_896',
        classes=16, known=(14, 'plane'), encode=palette, image_format='BMP'),
    'drive': VESSELS,
    'stare': VESSELS._replace(
        root='STARE_ROOT', mask='annotations/{split}/{name}.ah.png', names='im000{i}',
        beside='annotations/{split}/{name}.vk.png'),
    'chase_db1': VESSELS._replace(
        root='CHASE_DB1_ROOT', mask='annotations/{split}/{name}_1stHO.png', names='Image_0{i}L',
        beside='annotations/{split}/{name}_2ndHO.png'),
    'hrf': VESSELS._replace(
        root='HRF_ROOT', mask='annotations/{split}/{name}.png', names='0{i}_dr', beside=None, crop=512),
}


def truth(data: Published, split: str, index: int) -> np.ndarray:
    """Labels (H, W) of a sample as a network is to see them: every class, and ignored pixels if there are some."""
    values = [*range(data.classes), *[IGNORED] * data.ignores]
    return np.resize(np.roll(values, index + len(split)), SIZE[::-1]).astype(np.uint8)


def write(data: Published, root: Path) -> None:
    """Write the miniature of a data set."""
    rng = np.random.default_rng(0)
    for part in (data, *data.more):
        for split in dict.fromkeys(part.splits):
            names = [part.names.format(i=index + SAMPLES * (split == part.splits[1])) for index in range(SAMPLES)]
            for index, name in enumerate(names):
                image, mask, beside = (root / path.format(split=split, name=name) if path else None
                                       for path in (part.image, part.mask, part.beside))
                for path in filter(None, (image, mask, beside)):
                    path.parent.mkdir(parents=True, exist_ok=True)
                labels = truth(part, split, index)
                pixels = rng.integers(0, 256, (*labels.shape, 3), np.uint8)
                Image.fromarray(pixels).save(image, format=part.image_format)
                part.encode(labels).save(mask)
                if beside:
                    Image.fromarray(255 - labels).save(beside)
            if part.listed:
                listed = root / part.listed.format(split=split)
                listed.parent.mkdir(parents=True, exist_ok=True)
                listed.write_text(''.join(f'{name}\n' for name in names))
