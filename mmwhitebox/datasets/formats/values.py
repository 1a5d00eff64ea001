"""The values or colours of masks, counted in bounded memory."""
import collections
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from mmwhitebox.errors import ImageReadError

from ..image_io import BROKEN_IMAGE, orientation_of, turned
from ..label_map import channels_of, pack, unpacked
from .findings import Value

MOST_VALUES = 4096  # kept; the rarest are forgotten beyond twice as many
NEAR = 40  # distance of a channel up to which a value may be one that JPEG or resizing has smeared
MIXED = 0.2  # of the rarer of two values: the share below which one between them is a mixture
RARE = 1e-3  # share of pixels below which no value is one that was drawn, if the masks are not exact


class Mask(NamedTuple):
    """A mask as its file has it.

    Attributes:
        labels (np.ndarray): (H, W) of values, or of colours packed as 0xRRGGBB.
        kind (str): 'grey' | 'palette' | 'rgb' | 'float'.
        jpeg (bool): Whether the file loses values.
        palette (dict[int, tuple[int, int, int]]): Colours of the indices that occur, of 'palette'.
        note (str): 'alpha' | 'channels' (three that repeat one) | ''.
    """
    labels: np.ndarray
    kind: str
    jpeg: bool
    palette: dict[int, tuple[int, int, int]]
    note: str = ''


def read_mask(path: str | Path) -> Mask:
    """Read a mask, upright, as it is stored.

    Raises:
        ImageReadError: It cannot be read; the message names it.
    """
    try:
        with open(path, 'rb') as file, Image.open(file) as image:
            stored = orientation_of(image)
            image.load()
            jpeg, mode, note = image.format in ('JPEG', 'MPO'), image.mode, ''
            if mode in ('CMYK', 'YCbCr', 'LAB', 'HSV', 'RGBX', 'RGBa'):
                image, mode = image.convert('RGB'), 'RGB'
            array = turned(np.asarray(image), stored, orientation_of(image))
            colours = image.getpalette('RGB') if mode == 'P' else None
    except FileNotFoundError as error:
        raise ImageReadError(f'{path}: no such mask.') from error
    except BROKEN_IMAGE as error:
        raise ImageReadError(f'{path}: cannot read this mask ({error}).') from error
    if mode in ('RGBA', 'LA', 'PA', 'La'):
        array, note = array[..., :-1].squeeze(2) if array.shape[2] == 2 else array[..., :3], 'alpha'
    if array.ndim == 3:
        if (array == array[..., :1]).all():
            array, note = array[..., 0], note or 'channels'
        else:
            return Mask(pack(array), 'rgb', jpeg, {}, note)
    if array.dtype == bool:
        array = array.astype(np.uint8)
    if array.dtype.kind == 'f':
        whole = bool(np.isfinite(array).all() and (array == np.rint(array)).all() and abs(array).max(initial=0) < 2**31)
        return Mask(array.astype(np.int64), 'grey', jpeg, {}, note) if whole else Mask(array, 'float', jpeg, {}, note)
    palette = {}
    if colours:
        palette = {int(i): tuple(colours[3 * i:3 * i + 3]) for i in np.unique(array) if 3 * i + 2 < len(colours)}
    return Mask(array, 'palette' if mode in ('P', 'PA') else 'grey', jpeg, palette, note)


def count(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The values of a map and the number of pixels of each; by runs, of which masks have few."""
    flat = labels.ravel()
    if flat.dtype == np.uint8:
        counts = np.bincount(flat, minlength=256)
        return np.flatnonzero(counts), counts[counts > 0]
    starts = np.flatnonzero(np.concatenate([[True], flat[1:] != flat[:-1]]))
    values, which = np.unique(flat[starts], return_inverse=True)
    lengths = np.diff(starts, append=len(flat))
    return values, np.bincount(which, lengths).astype(np.int64)


class Counts:
    """Values of many masks of one kind: pixels and files of each, the most frequent if there are too many.

    Attributes:
        masks (int): Number of masks.
        overfull (bool): Whether values were forgotten.
    """

    def __init__(self) -> None:
        self.pixels, self.files = collections.Counter(), collections.Counter()
        self.total, self.masks, self.overfull = 0, 0, False

    def add(self, labels: np.ndarray) -> list:
        """Count a mask; its values."""
        values, counts = count(labels)
        order = np.argsort(-counts, kind='stable')[:MOST_VALUES]
        kept = list(zip(values[order].tolist(), counts[order].tolist()))
        self.overfull |= len(values) > MOST_VALUES
        self.total += labels.size
        self.masks += 1
        self.pixels.update(dict(kept))
        self.files.update(value for value, _ in kept)
        if len(self.pixels) > 2 * MOST_VALUES:
            self.overfull = True
            self.pixels = collections.Counter(dict(self.pixels.most_common(MOST_VALUES)))
            self.files = collections.Counter({value: self.files[value] for value in self.pixels})
        return values.tolist()

    def values(self, colours: bool) -> list[Value]:
        """The values in their order, at most ``MOST_VALUES``, colours as (R, G, B)."""
        most = sorted(value for value, _ in self.pixels.most_common(MOST_VALUES))
        return [Value(unpacked(value) if colours else value, self.files[value], self.pixels[value] / self.total)
                for value in most]


def main_values(values: list[Value]) -> list:
    """The values that were drawn, where others are near them: each the most frequent of those around it."""
    main: list[tuple[np.ndarray, float]] = []
    for value in sorted(values, key=lambda value: -value.share):
        point = np.atleast_1d(np.asarray(value.value, np.int64))
        if value.share >= RARE and all(abs(point - other).max() > NEAR for other, _ in main) and not any(
                value.share < MIXED * min(one, two) and _between(point, a, b)
                for i, (a, one) in enumerate(main) for b, two in main[:i]):
            main.append((point, value.share))
    found = sorted(tuple(point.tolist()) for point, _ in main)
    return [point if len(point) == 3 else point[0] for point in found]


def nearest_shares(masks: Sequence[Path], main: list) -> dict:
    """Shares of the pixels of masks, read again, that are nearest to each of the values or colours ``main``."""
    known = np.stack([np.atleast_1d(np.asarray(value, np.int64)) for value in main])
    totals = np.zeros(len(main))
    for path in masks:
        mask = read_mask(path)
        values, counts = count(mask.labels.astype(np.int64))
        points = values[:, None] if mask.kind != 'rgb' else channels_of(values)  # grey ones repeat it
        totals += np.bincount(((points[:, None] - known) ** 2).sum(-1).argmin(1), counts, len(main))
    return dict(zip(main, (totals / totals.sum()).tolist()))


def _between(point: np.ndarray, a: np.ndarray, b: np.ndarray) -> bool:
    """Whether a colour is nearly a mixture of two others."""
    along = b - a
    share = np.clip((point - a) @ along / (along @ along), 0, 1)
    return bool(abs(a + share * along - point).max() <= NEAR / 4)


def is_smeared(values: list[Value]) -> bool:
    """Whether many values are rare and few hold nearly all pixels: what JPEG or smooth resizing makes."""
    main = main_values(values)
    rare = sum(value.share < RARE for value in values)
    return len(values) > 64 and rare > 3 * len(main) and len(values) > 4 * len(main)


def is_sparse(values: list[int]) -> bool:
    """Whether whole numbers are no indices: those below 255 (which is often ignored) are far apart, or 0 alone."""
    inner = [value for value in values if value != 255]
    if 255 in values and inner in ([], [0]):
        return True
    return bool(inner) and (min(inner) < 0 or max(inner) > 4 * len(inner) + 16)
