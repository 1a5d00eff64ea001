"""Images of any number of bands and bits, as pictures for people."""
from pathlib import Path

import cv2
import numpy as np

from mmwhitebox.datasets.image_io import read_image
from mmwhitebox.errors import ImageReadError


def read_viewable(path: str | Path, size: tuple) -> np.ndarray:
    """(H, W, 3) uint8 BGR of a file that a pipeline reads, in the size (H, W) that it has there."""
    try:
        image = read_image(path)
        if image.shape[:2] == tuple(size):
            return image
    except ImageReadError:
        pass
    for flag in (cv2.IMREAD_COLOR, cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION, cv2.IMREAD_UNCHANGED):
        found = cv2.imread(str(path), flag)
        if found is not None and found.shape[:2] == tuple(size):
            return viewable(found)
    raise ImageReadError(f'{path}: the test pipeline reads this image, but there is no way to show it.')


def viewable(image: np.ndarray) -> np.ndarray:
    """(H, W, 3) uint8 of an array of any type: its first three bands, or its one; integers by their high byte."""
    image = image[..., None] if image.ndim == 2 else image
    image = image[..., :3] if image.shape[2] >= 3 else np.repeat(image[..., :1], 3, axis=2)
    if image.dtype.kind == 'f':
        return np.nan_to_num(image * (255 if image.max(initial=0) <= 1 else 1)).clip(0, 255).astype(np.uint8)
    return (image.astype(np.int64) >> max(np.iinfo(image.dtype).bits - 8, 0)).clip(0, 255).astype(np.uint8)
