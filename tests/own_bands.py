"""Small folders of images of any channels and values, with masks of 0 and 255."""
from pathlib import Path

import numpy as np
import tifffile
from PIL import Image

from tests.own_folders import labels_of


def bands(root: Path, channels: int, dtype: str, low: float, high: float, number: int = 6, write=None) -> np.ndarray:
    """images/pN.tif (interleaved) and masks/pN.png; the images, (number, H, W, channels)."""
    rng = np.random.default_rng(channels)
    for folder in ('images', 'masks'):
        (root / folder).mkdir(parents=True, exist_ok=True)
    arrays = []
    for index in range(number):
        labels = labels_of(index, 2)
        image = 0.4 * rng.random((*labels.shape, channels)) + 0.5 * labels[..., None] * np.linspace(1, 0.2, channels)
        image = (low + image * (high - low)).astype(dtype)
        arrays.append(image)
        path = root / 'images' / f'p{index}.tif'
        if write:
            write(path, image)
        else:
            tifffile.imwrite(path, image if channels > 1 else image[..., 0], photometric='minisblack',
                             planarconfig='contig' if channels > 1 else None)
        Image.fromarray(labels * np.uint8(255)).save(root / 'masks' / f'p{index}.png')
    return np.stack(arrays)
