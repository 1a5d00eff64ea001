"""What counts as an image in the functions of this package."""
import io
from pathlib import Path
from typing import Any, Union

import numpy as np
from PIL import Image, ImageOps
from torch import Tensor

from mmwhitebox.datasets.image_io import BROKEN_IMAGE, to_bgr
from mmwhitebox.errors import ImageReadError, UserError

ImageType = Union[str, Path, np.ndarray, Image.Image, bytes]
SINGLE = (str, Path, np.ndarray, Image.Image, bytes, bytearray, memoryview)


def refuse_url(source: Any) -> None:
    """Raise a UserError if a source is an address on a network."""
    if isinstance(source, str) and '://' in source:
        raise UserError(f'{source}: images are not fetched from a network. Download it, then give the file or its '
                        'bytes.')


def prepared(image: Any, rgb: bool = False) -> Union[str, Path, np.ndarray]:
    """A path or a BGR array of an image of any kind that is accepted.

    Args:
        image (str | Path | np.ndarray | PIL.Image | bytes): Path; array (H, W) or (H, W, C); picture; encoded file.
        rgb (bool): Arrays are in RGB order instead of OpenCV's BGR. Defaults to False.

    Raises:
        ImageReadError: Bytes or a picture that cannot be decoded.
        UserError: No image: a tensor, an address on a network, an array of another shape, anything else.
    """
    if isinstance(image, (str, Path)):
        refuse_url(image)
        return image
    if isinstance(image, np.ndarray):
        if image.ndim not in (2, 3) or image.dtype.kind not in 'uif':
            raise UserError(f'An image array is (H, W) or (H, W, C) of numbers, got {image.shape} {image.dtype}; '
                            'several images are a list.')
        if rgb and (image.ndim != 3 or image.shape[2] != 3):
            raise UserError(f'rgb=True is for arrays (H, W, 3), got {image.shape}.')
        return np.ascontiguousarray(image[..., ::-1]) if rgb else image
    if isinstance(image, (bytes, bytearray, memoryview)):
        try:
            with Image.open(io.BytesIO(image)) as picture:
                return prepared(picture)
        except ImageReadError:
            raise
        except BROKEN_IMAGE as error:
            raise ImageReadError(f'These {len(image)} bytes are no image file ({error}).') from error
    if isinstance(image, Image.Image):
        try:
            return to_bgr(ImageOps.exif_transpose(image))
        except BROKEN_IMAGE as error:
            raise ImageReadError(f'{image!r}: cannot read this image ({error}).') from error
    if isinstance(image, Tensor):
        raise UserError(f'A torch tensor {tuple(image.shape)} does not say how its axes and colours are ordered: give '
                        'an array (H, W, C) in BGR order, e.g. tensor.permute(1, 2, 0).numpy(), rgb=True for RGB.')
    raise UserError(f'{type(image).__name__} is no image: give a path, an array (H, W, C) in BGR order, a PIL image, '
                    'or the bytes of an image file.')
