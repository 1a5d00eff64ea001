"""Small folders of images and what is annotated of them, as people have them."""
from pathlib import Path

import numpy as np
from PIL import Image

SIZE = (48, 32)  # width, height
COLOURS = np.array([(0, 0, 0), (128, 64, 128), (70, 130, 180)], np.uint8)


def labels_of(index: int, count: int) -> np.ndarray:
    """A map (H, W) of 2 or 3 classes: background, a box, and a band on top."""
    labels = np.zeros(SIZE[::-1], np.uint8)
    labels[8 + index % 8:24 + index % 8, 4 + index % 8:28] = 1
    if count > 2:
        labels[:6] = 2
    return labels


def make_masks(root: Path, encode, number: int = 10, count: int = 2, suffix: str = '') -> Path:
    """images/pNN.jpg and masks/pNN{suffix}.png; ``encode`` makes the mask's array of labels."""
    rng = np.random.default_rng(0)
    for folder in ('images', 'masks'):
        (root / folder).mkdir(parents=True, exist_ok=True)
    for index in range(number):
        labels = labels_of(index, count)
        image = COLOURS[labels] // 2 + rng.integers(0, 40, (*labels.shape, 3), np.uint8)
        Image.fromarray(image).save(root / 'images' / f'p{index:02}.jpg')
        Image.fromarray(encode(labels)).save(root / 'masks' / f'p{index:02}{suffix}.png')
    return root


def coloured(root: Path) -> Path:
    """Masks of three colours."""
    return make_masks(root, lambda labels: COLOURS[labels], count=3)


def binary(root: Path) -> Path:
    """Masks of 0 and 255."""
    return make_masks(root, lambda labels: labels * np.uint8(255), suffix='_mask')


def class_folders(root: Path, number: int = 6) -> Path:
    """cat/ and dog/ with pictures of two colours."""
    rng = np.random.default_rng(0)
    for name, colour in (('cat', (200, 60, 60)), ('dog', (60, 60, 200))):
        (root / name).mkdir(parents=True, exist_ok=True)
        for index in range(number):
            image = rng.integers(0, 50, (32, 32, 3), np.uint8) + np.array(colour, np.uint8)
            Image.fromarray(image).save(root / name / f'{index}.png')
    return root
