"""Images with all the channels and bits that their files hold."""
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import tifffile
from PIL import Image

from mmwhitebox.errors import ImageReadError

from .image_io import BROKEN_IMAGE, is_wide_colour, orientation_of, turned

TIFF_STARTS = (b'II*\0', b'MM\0*', b'II+\0', b'MM\0+')
ORIENTATION = 274  # the TIFF tag
CONVERTED = ('PALETTE', 'SEPARATED', 'YCBCR', 'CIELAB', 'ICCLAB', 'ITULAB', 'MINISWHITE')  # Pillow knows what they mean
AXES = ('first', 'last')


class StoredImage(NamedTuple):
    """An image as its file has it.

    Attributes:
        array (np.ndarray): (H, W, C) of the file's type, RGB first, an alpha channel last.
        alpha (bool): Whether the file says that its last channel is alpha.
    """
    array: np.ndarray
    alpha: bool

    def taken(self, channels: int | None = None) -> np.ndarray:
        """(H, W, C) without the alpha channel, unless ``channels`` counts it."""
        return self.array[..., :-1] if self.alpha and self.array.shape[2] != channels else self.array


def read_stored(path: str | Path, channel_axis: str | None = None, exif: str = 'apply') -> StoredImage:
    """Read an image upright, with all channels and bits: TIFF by tifffile, other kinds by Pillow and OpenCV.

    Where the channels of a TIFF lie is what its tags say: samples of each pixel, interleaved or in planes, or a page
    for each channel. Palettes, CMYK, YCbCr and Lab become RGB.

    Args:
        path (str | Path): Image file; what kind it is its first bytes say.
        channel_axis (str, optional): 'first' or 'last' of the three axes of a TIFF whose tags do not say it, or lie.
            Defaults to None.
        exif (str): See :func:`.image_io.read_image`. Defaults to 'apply'.

    Raises:
        ImageReadError: It cannot be read, has more than three axes, or tags that leave open which axis the channels
            are; the message names it.
    """
    try:
        with open(path, 'rb') as file:
            is_tiff = file.read(4) in TIFF_STARTS
        return (is_tiff and _tiff(path, channel_axis, exif)) or _by_pillow(path, exif)
    except FileNotFoundError as error:
        raise ImageReadError(f'{path}: no such image file.') from error
    except ImageReadError:
        raise
    except BROKEN_IMAGE as error:
        raise ImageReadError(f'{path}: cannot read this image ({error}).') from error


def _by_pillow(path: str | Path, exif: str) -> StoredImage:
    with open(path, 'rb') as file, Image.open(file) as image:
        alpha = image.mode in ('LA', 'La', 'RGBA', 'RGBa')
        if is_wide_colour(image):
            array = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
            if array is None:
                raise ValueError('16-bit colour that cannot be decoded')
            return StoredImage(np.concatenate([array[..., 2::-1], array[..., 3:]], axis=2), alpha)
        stored, kind = orientation_of(image), image.format
        image.load()
        loaded = orientation_of(image)
        if image.mode in ('P', 'CMYK', 'YCbCr', 'LAB', 'HSV', 'PA', '1'):
            image = image.convert('RGB' if image.mode != '1' else 'L')
        array = turned(np.asarray(image), stored, loaded, exif)
        if image.mode == 'I' and kind in ('PNG', 'PPM'):  # 16 bits, of which Pillow makes 32
            array = array.astype(np.uint16)
        return StoredImage(np.atleast_3d(array), alpha)


def _tiff(path: str | Path, channel_axis: str | None, exif: str) -> StoredImage | None:
    """The first image of a TIFF; None of a kind that Pillow has to convert or decode."""
    try:
        with tifffile.TiffFile(path) as file:
            series, page = file.series[0], file.pages[0]
            photometric, samples = page.photometric.name, page.samplesperpixel
            if photometric in CONVERTED or page.bitspersample < 8:
                return None
            orientation = page.tags.valueof(ORIENTATION, 1)
            extra = [int(sample) for sample in page.extrasamples or ()]
            compression, axes = page.compression.name, series.axes
            array = series.asarray()
    except Exception as error:  # its parser raises what hostile bytes lead to
        if 'imagecodecs' in str(error) and series.ndim <= 3 and len(series) == 1:
            try:
                return _by_pillow(path, exif)
            except BROKEN_IMAGE:
                raise ImageReadError(f'{path}: a TIFF compressed by {compression}, which needs the package '
                                     'imagecodecs: install it, or save the file with deflate or without compression.'
                                     ) from error
        raise ImageReadError(f'{path}: cannot read this TIFF ({error}).') from error
    if array.dtype.kind not in 'uif':
        raise ImageReadError(f'{path}: values of type {array.dtype}; images hold integers or floating-point numbers.')
    array = _channels_last(path, array, axes, channel_axis)
    alpha = photometric == 'RGB' and samples == 4 == array.shape[2] and (not extra or extra[0] in (1, 2)) or \
        photometric == 'MINISBLACK' and samples == 2 == array.shape[2] and extra[:1] in ([1], [2])
    return StoredImage(turned(array, orientation, orientation, exif), alpha)


def _channels_last(path: str | Path, array: np.ndarray, axes: str, channel_axis: str | None) -> np.ndarray:
    """(H, W, C) of an array with tifffile's names of its axes."""
    for position in [i for i, name in reversed([*enumerate(axes)])
                     if name not in 'YXS' and (array.shape[i] == 1 or 'S' in axes)]:  # of pages in colour the first
        array, axes = array.take(0, position), axes[:position] + axes[position + 1:]
    if array.ndim not in (2, 3) or 'Y' not in axes or 'X' not in axes:
        raise ImageReadError(f'{path}: an array {array.shape} with the axes {axes}; an image is (H, W) and its '
                             'channels: save each image of a stack as a file of its own.')
    if array.ndim == 2:
        return array[..., None]
    if channel_axis is not None:
        return array if channel_axis == 'last' else np.moveaxis(array, 0, 2)
    pages, height, width = array.shape
    if 'S' not in axes and axes.index('X') == 2 and width < pages:  # a page for each row, perhaps
        raise ImageReadError(f'{path}: {pages} pages of {height} x {width} values: {pages} channels, or an array (H, '
                             f"W, C) of {width} channels saved as pages? State channel_axis='first' or 'last' "
                             '(own_data.channel_axis, --channel-axis of mmwhitebox new).')
    return np.ascontiguousarray(np.moveaxis(array, (axes.index('Y'), axes.index('X')), (0, 1)))


def in_range(array: np.ndarray, value_range: tuple[float, float]) -> np.ndarray:
    """Values as float32, ``value_range`` mapped linearly to 0 and 255; what lies beyond it stays beyond."""
    low, high = value_range
    wide = array.astype(np.result_type(array.dtype, np.float32))
    return ((wide - low) * (255 / (high - low))).astype(np.float32, copy=False)


def from_range(array: np.ndarray, value_range: tuple[float, float]) -> np.ndarray:
    """What :func:`in_range` was given, float64."""
    low, high = value_range
    return array.astype(np.float64) * ((high - low) / 255) + low
