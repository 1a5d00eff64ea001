"""What counts as an image in the functions of this package."""
import io
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import url2pathname

import numpy as np
from PIL import Image, ImageOps
from torch import Tensor

from mmwhitebox.datasets.image_io import BROKEN_IMAGE
from mmwhitebox.errors import ImageReadError, UserError

ImageType = str | Path | np.ndarray | Image.Image | bytes
SINGLE = (str, Path, np.ndarray, Image.Image, bytes, bytearray, memoryview)
PNG_MODES = ('1', 'L', 'LA', 'I;16', 'P', 'RGB', 'RGBA')


def named(value: Any) -> str:
    """A value that should be text, in an error: the text, or what it is instead."""
    return repr(value) if isinstance(value, str) else type(value).__name__


def local_path(source: str | Path) -> Path:
    """The path of a file; ``~`` and ``file://`` are understood.

    Raises:
        UserError: It is empty, no path at all, or an address on a network.
    """
    if not isinstance(source, (str, Path)) or not str(source):
        raise UserError(f'{named(source)} is no path: give an image file, a folder of images or a quoted glob.')
    if isinstance(source, str) and '://' in source:
        address = urlsplit(source)
        if address.scheme != 'file':
            raise UserError(f'{source}: images are not fetched from a network. Download it, then give the file or its '
                            'bytes.')
        source = url2pathname(address.path)
    return Path(source).expanduser()


def images_of(source: Any) -> Iterable:
    """Several images, one after another.

    Raises:
        UserError: One image, or nothing that holds images.
    """
    if isinstance(source, (*SINGLE, Tensor, dict)) or not isinstance(source, Iterable):
        raise UserError(f'{type(source).__name__}: several images are wanted here; give a list of them, or those of a '
                        'folder by list_images(folder).')
    return source


def prepared(image: Any, rgb: bool = False) -> Path | np.ndarray | bytes:
    """A path, a BGR array, or an encoded file of an image of any kind that is accepted.

    A picture of PIL is encoded without loss, so that the loading step of a config reads it as it reads its files.

    Args:
        image (str | Path | np.ndarray | PIL.Image | bytes): Path; array (H, W) or (H, W, C); picture; encoded file.
        rgb (bool): Arrays are in RGB order instead of OpenCV's BGR, or in RGBA order. Defaults to False.

    Raises:
        ImageReadError: A picture that cannot be decoded.
        UserError: No image: a tensor, an address on a network, an array of another shape, anything else.
    """
    if isinstance(image, (str, Path)):
        return local_path(image)
    if isinstance(image, np.ndarray):
        if image.ndim not in (2, 3) or image.dtype.kind not in 'uif':
            raise UserError(f'An image array is (H, W) or (H, W, C) of numbers, got {image.shape} {image.dtype}; '
                            'several images are a list.')
        if rgb and (image.ndim != 3 or image.shape[2] not in (3, 4)):
            raise UserError(f'rgb=True is for arrays (H, W, 3) or, with alpha, (H, W, 4), got {image.shape}.')
        return np.ascontiguousarray(image[..., [2, 1, 0, 3][:image.shape[2]]]) if rgb else image
    if isinstance(image, (bytes, bytearray, memoryview)):
        return bytes(image)
    if isinstance(image, Image.Image):
        try:
            return encoded(ImageOps.exif_transpose(image))
        except BROKEN_IMAGE as error:
            raise ImageReadError(f'{image!r}: cannot read this image ({error}).') from error
    if isinstance(image, Tensor):
        raise UserError(f'A torch tensor {tuple(image.shape)} does not say how its axes and colours are ordered: give '
                        'an array (H, W, C) in BGR order, e.g. tensor.permute(1, 2, 0).numpy(), rgb=True for RGB.')
    raise UserError(f'{type(image).__name__} is no image: give a path, an array (H, W, C) in BGR order, a PIL image, '
                    'or the bytes of an image file.')


def encoded(picture: Image.Image) -> bytes:
    """A picture as a file without loss: PNG, or TIFF of the modes that PNG has not."""
    if picture.mode.startswith('I;16'):
        picture = Image.fromarray(np.asarray(picture).astype(np.uint16))  # of either order of bytes
    file = io.BytesIO()
    if picture.mode in PNG_MODES:
        picture.save(file, 'PNG', compress_level=1, exif=b'')
    else:
        picture.save(file, 'TIFF')
    return file.getvalue()


@contextmanager
def as_file(image: bytes) -> Iterator[Path]:
    """A context in which an encoded image is a file; mmcv's readers take nothing else."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / 'image'
        path.write_bytes(image)
        yield path
