"""Reading images of any common mode, with errors that name the file."""
import struct
import zlib
from pathlib import Path
from typing import Union

import numpy as np
from PIL import Image, ImageOps

from mmwhitebox.errors import ImageReadError

IMAGE_SUFFIXES = ('.jpg', '.jpeg', '.png', '.bmp', '.tif', '.tiff', '.webp', '.ppm', '.pgm', '.gif')

# What Pillow raises for files that are broken, hostile or no images: its plug-ins parse bytes with struct and zlib.
BROKEN_IMAGE = (OSError, ValueError, SyntaxError, EOFError, IndexError, KeyError, TypeError, struct.error, zlib.error,
                OverflowError, ZeroDivisionError, MemoryError, Image.DecompressionBombError)


def read_image(path: Union[str, Path]) -> np.ndarray:
    """Read an image file as 8-bit BGR.

    Grey, palette, 16-bit, CMYK and RGBA images are converted: 16-bit grey keeps its high byte, an alpha
    channel is dropped, EXIF orientation is applied, an animation gives its first frame.

    Args:
        path (str | Path): Image file.

    Returns:
        np.ndarray: (H, W, 3) uint8, BGR.

    Raises:
        ImageReadError: The file is missing, not an image, truncated, or of an unsupported mode.
    """
    try:
        with Image.open(path) as image:
            image.load()
            image = ImageOps.exif_transpose(image)
            return to_bgr(image)
    except FileNotFoundError as error:
        raise ImageReadError(f'{path}: no such image file.') from error
    except BROKEN_IMAGE as error:
        raise ImageReadError(f'{path}: cannot read this image ({error}).') from error


def to_bgr(image: Image.Image) -> np.ndarray:
    """8-bit BGR array, (H, W, 3), of a PIL image of any integer mode."""
    if image.mode == 'F':
        raise ValueError('floating-point images have no defined range; save it as 8 or 16 bit')
    if image.mode.startswith('I'):  # 16-bit grey, which PIL opens as I;16 or as 32-bit I
        grey = np.asarray(image)
        grey = (grey >> 8 if grey.max(initial=0) > 255 else grey).clip(0, 255).astype(np.uint8)
        return np.repeat(grey[..., None], 3, axis=2)
    return np.ascontiguousarray(np.asarray(image.convert('RGB'))[..., ::-1])
