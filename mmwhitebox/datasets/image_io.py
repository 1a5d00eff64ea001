"""Reading images of any common mode, with errors that name the file."""
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, UnidentifiedImageError

from mmwhitebox.errors import ImageReadError

IMAGE_SUFFIXES = ('.jpg', '.jpeg', '.png', '.bmp', '.tif', '.tiff', '.webp', '.ppm', '.pgm', '.gif')

# What Pillow raises for files that are broken, hostile or no images: its plug-ins parse bytes with struct and zlib.
BROKEN_IMAGE = (OSError, ValueError, SyntaxError, EOFError, IndexError, KeyError, TypeError, struct.error, zlib.error,
                OverflowError, ZeroDivisionError, MemoryError, Image.DecompressionBombError)


EXTRA_SAMPLES, ALPHA = 338, (1, 2)  # a tag of TIFF, and its values that mean alpha
EXIF_ORIENTATION = 0x0112
TURNS = {  # EXIF orientation -> what shows the stored array (H, W, ...) upright
    2: lambda a: a[:, ::-1], 3: lambda a: a[::-1, ::-1], 4: lambda a: a[::-1], 5: lambda a: a.swapaxes(0, 1),
    6: lambda a: a.swapaxes(0, 1)[:, ::-1], 7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
    8: lambda a: a.swapaxes(0, 1)[::-1]}
UNDOES = {6: 8, 8: 6}  # the orientations that another undoes; each of the others undoes itself
QUARTER_TURNS = (5, 6, 7, 8)
EXIF = ('apply', 'ignore')


def read_image(path: str | Path, bit_depth: int | None = None, exif: str = 'apply') -> np.ndarray:
    """Read an image file as 8-bit BGR.

    Grey, palette, 16-bit, CMYK and RGBA images are converted: of more than 8 bits the most significant 8 are kept, an
    alpha channel is dropped, an animation gives its first frame. The same value becomes the same in every file.

    Args:
        path (str | Path): Image file.
        bit_depth (int, optional): Bits that the values of wide images use, from 8 up; 12 for a 12-bit camera, say.
            Defaults to None: all of the type, 16. Images of 8 bits do not change, nor do PGM files, which state their
            largest value themselves.
        exif (str): 'apply' turns the image as its EXIF orientation says, as viewers do; 'ignore' leaves it as stored.
            Defaults to 'apply'.

    Returns:
        np.ndarray: (H, W, 3) uint8, BGR.

    Raises:
        ImageReadError: The file is missing, not an image, truncated, of an unsupported mode, or has values beyond
            ``bit_depth``.
    """
    try:
        with open(path, 'rb') as file, Image.open(file) as image:  # of a path, Pillow maps a lying TIFF wrongly
            wide_colour = is_wide_colour(image)  # first: the EXIF of a PNG is found by loading it
            stored = orientation_of(image)
            refuse_bands(image)
            image.load()
            loaded = orientation_of(image)
            if not (wide_colour and bit_depth):
                return turned(to_bgr(image, bit_depth), stored, loaded, exif)
            if stored != loaded:
                raise ValueError(f'a TIFF of 16-bit colour with EXIF orientation {stored}; save it upright')
            return turned(read_wide_colour(path, bit_depth), stored, stored, exif)
    except FileNotFoundError as error:
        raise ImageReadError(f'{path}: no such image file.') from error
    except UnidentifiedImageError as error:  # whose message names the handle
        raise ImageReadError(f'{path}: cannot read this image (no format that Pillow knows).') from error
    except BROKEN_IMAGE as error:
        raise ImageReadError(f'{path}: cannot read this image ({error}).') from error


def orientation_of(image: Image.Image | str | Path) -> int:
    """EXIF orientation of an image or a file, 1 (upright) to 8; 1 if there is none."""
    if not isinstance(image, Image.Image):
        with Image.open(image) as opened:
            return orientation_of(opened)
    orientation = image.getexif().get(EXIF_ORIENTATION)
    return orientation if orientation in TURNS else 1


def turned(array: np.ndarray, stored: int, loaded: int, exif: str = 'apply') -> np.ndarray:
    """An array that Pillow has loaded, turned upright or as it is stored. Pillow turns TIFFs itself, nothing else.

    Args:
        array (np.ndarray): (H, W, ...).
        stored (int): EXIF orientation of the file.
        loaded (int): That which is left once Pillow has loaded it.
        exif (str): Of :data:`EXIF`. Defaults to 'apply'.
    """
    undo = UNDOES.get(stored, stored) if stored != loaded else 1
    turn = TURNS.get(loaded if exif == 'apply' else undo)
    return np.ascontiguousarray(turn(array)) if turn else array


def is_wide_colour(image: Image.Image) -> bool:
    """Whether an opened image, not loaded yet, has several channels of 16 bits, of which Pillow keeps 8."""
    return image.mode[0] != 'I' and any(';16' in str(tile[3]) for tile in image.tile)


def refuse_bands(image: Image.Image) -> None:
    """A ValueError for a TIFF whose channels beyond the colours are no alpha: they would be dropped."""
    extra = [kind for kind in getattr(image, 'tag_v2', {}).get(EXTRA_SAMPLES, ()) if kind not in ALPHA]
    if extra:
        raise ValueError(f'{len(extra)} more channel(s) than its colours, no alpha: state the number of all, channels '
                         'of mmwhitebox.LoadImage (own_data.channels)')


def high_byte(values: np.ndarray, bit_depth: int) -> np.ndarray:
    """The 8 most significant of ``bit_depth`` bits, uint8; a ValueError if a value needs more."""
    largest = int(values.max(initial=0))
    if largest >= 1 << bit_depth or values.min(initial=0) < 0:
        raise ValueError(f'values up to {largest} do not fit bit_depth={bit_depth}')
    return (values >> (bit_depth - 8)).astype(np.uint8)


def read_wide_colour(path: str | Path, bit_depth: int) -> np.ndarray:
    """A colour image of 16 bits a channel, of which Pillow keeps the high bytes alone; BGR."""
    array = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    if array is None or array.ndim != 3:
        raise ValueError('a 16-bit colour image that cannot be decoded')
    return np.ascontiguousarray(high_byte(array[..., :3], bit_depth))


def to_bgr(image: Image.Image, bit_depth: int | None = None) -> np.ndarray:
    """8-bit BGR array, (H, W, 3), of a PIL image of any integer mode."""
    if image.mode == 'F':
        raise ValueError('floating-point images have no defined range; save it as 8 or 16 bit')
    if image.mode.startswith('I'):  # 16-bit grey is I;16, and 32-bit I of PGM files
        if image.mode == 'I' and image.format not in ('PNG', 'PPM') and bit_depth is None:
            raise ValueError('32-bit integers have no defined range; set bit_depth of mmwhitebox.LoadImage')
        bits = 16 if image.format == 'PPM' else bit_depth or 16  # Pillow scales PGM files by the maximum they state
        grey = high_byte(np.asarray(image).astype(np.int64), bits)
        return np.repeat(grey[..., None], 3, axis=2)
    return np.ascontiguousarray(np.asarray(image.convert('RGB'))[..., ::-1])


def largest_wide_value(path: str | Path) -> int:
    """Largest value of an image of more than 8 bits a channel; 0 of any other, from its header alone."""
    with Image.open(path) as image:
        if is_wide_colour(image):
            array = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
            return 0 if array is None else int(array[..., :3].max(initial=0))
        return int(np.asarray(image).max(initial=0)) if image.mode[0] == 'I' and image.format != 'PPM' else 0
