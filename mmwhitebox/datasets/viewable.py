"""Images of any number of channels and bits, as pictures for people."""
from collections.abc import Mapping
from pathlib import Path

import cv2
import numpy as np

from mmwhitebox.drawing import View, show_channels
from mmwhitebox.errors import ImageReadError

from .image_io import read_image
from .stored_images import from_range, read_stored


def read_viewable(path: str | Path, size: tuple | None, shown: Mapping | None = None) -> View:
    """The picture of a file that a pipeline reads.

    Args:
        path (str | Path): The file.
        size (tuple, optional): (H, W) that it has in the pipeline. None takes any.
        shown (Mapping, optional): ``shown`` of the data set's metainfo, see :func:`mmwhitebox.config.own_data.shown`.
            Defaults to None: a photograph.

    Raises:
        ImageReadError: It cannot be read, or not in this size.
    """
    if shown:
        for exif in ('apply', 'ignore'):
            array = read_stored(path, shown['channel_axis'], exif).taken(shown['channels'])
            if size is None or array.shape[:2] == tuple(size):
                return show_channels(array, shown['display'])
    else:
        try:
            image = read_image(path)
            if size is None or image.shape[:2] == tuple(size):
                return View(image[..., ::-1])
        except ImageReadError:
            pass
        for flag in (cv2.IMREAD_COLOR, cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION, cv2.IMREAD_UNCHANGED):
            found = cv2.imread(str(path), flag)
            if found is not None and (size is None or found.shape[:2] == tuple(size)):
                return viewable(found)
    raise ImageReadError(f'{path}: the test pipeline reads this image, but there is no way to show it.')


def viewable(image: np.ndarray, shown: Mapping | None = None) -> View:
    """The picture of an array (H, W, C), of three channels in BGR order, in the values of files.

    Without ``shown`` these are its first three bands, or its one; integers by their high byte.
    """
    image = image[..., None] if image.ndim == 2 else image
    if shown:
        return show_channels(image[..., ::-1] if image.shape[2] == 3 else image, shown['display'])
    image = image[..., 2::-1] if image.shape[2] >= 3 else np.repeat(image[..., :1], 3, axis=2)
    if image.dtype.kind == 'f':
        return View(np.nan_to_num(image * (255 if image.max(initial=0) <= 1 else 1)).clip(0, 255).astype(np.uint8))
    high_bytes = image.astype(np.int64) >> max(np.iinfo(image.dtype).bits - 8, 0)
    return View(high_bytes.clip(0, 255).astype(np.uint8))


def viewable_input(inputs: np.ndarray, shown: Mapping | None = None) -> View:
    """The picture of what a pipeline gives to a model, (C, H, W): that of its values in the file, if ``shown`` says
    which they were."""
    image = np.moveaxis(inputs, 0, 2)
    if shown and shown['value_range']:
        image = from_range(image, shown['value_range'])
    return viewable(image, shown)
