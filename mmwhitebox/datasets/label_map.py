"""From what a mask holds, values or colours, to labels: one table, exact, for training, checks and pictures alike."""
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from PIL import Image

from mmwhitebox.errors import AnnotationError, ConfigError, joined

from .image_io import orientation_of, turned

UNKNOWN = -1
LOSSY = ('JPEG', 'WEBP')
Colour = Sequence[int]


class UnknownValuesError(AnnotationError):
    """Values or colours of a mask that are not in the table.

    Attributes:
        values (tuple): They, the most frequent first.
        swapped (bool): Whether all are in the table with red and blue swapped.
        near (bool): Whether the mask was saved as JPEG, or all are near to what is in the table.
    """

    def __init__(self, message: str, values: Sequence = (), swapped: bool = False, near: bool = False) -> None:
        super().__init__(message)
        self.values, self.swapped, self.near = tuple(values), swapped, near


class LabelMap:
    """A table of mask values, or of colours, and their labels.

    ::

        LabelMap(mapping={0: 'background', 255: 'road', 254: 'road'}, ignored=[7])
        LabelMap(palette={'sky': (70, 130, 180), 'road': [(128, 64, 128), (128, 64, 129)]}, ignored=[(0, 0, 0)])

    Label i is the i-th of ``classes``. Two values or colours of one name are merged; names that are not in ``classes``
    are ignored; a value that stands nowhere is an error that names it.

    Args:
        mapping (Mapping[int, str], optional): Value -> name of its class, for masks of one channel of any depth.
        palette (Mapping[str, Sequence], optional): Name -> its RGB colour, or several, for coloured masks.
        classes (Sequence[str], optional): Names in the order of their labels, some or all of the above. Defaults to
            None: all, in the order of the mapping's values or of the palette.
        ignored (Sequence): Values, or colours, that do not count.
        ignore_index (int): Their label. Defaults to 255.
        nearest (bool): A value or colour counts as the nearest one of the table: for masks saved as JPEG, whose borders
            are then guesses. Defaults to False.

    Raises:
        ConfigError: Both or neither of ``mapping`` and ``palette``, a value or colour of two classes or out of range, a
            class without a value.
    """

    def __init__(self, mapping: Mapping[Any, str] | None = None, palette: Mapping[str, Any] | None = None,
                 classes: Sequence[str] | None = None, ignored: Sequence = (), ignore_index: int = 255,
                 nearest: bool = False) -> None:
        if (mapping is None) == (palette is None):
            raise ConfigError('Give either mapping={VALUE: NAME} or palette={NAME: (R, G, B)} of the masks.')
        self.coloured, self.nearest, self.ignore_index = palette is not None, nearest, ignore_index
        left_out = {self._code(item) for item in ignored}
        pairs = [*((code, name) for code, name in (of_palette(palette) if palette is not None else of_mapping(mapping))
                   if code not in left_out), *((code, None) for code in sorted(left_out))]
        names = list(dict.fromkeys(name for _, name in pairs if name is not None))
        self.classes = tuple(names if classes is None else map(str, classes))
        missing = [name for name in self.classes if name not in names]
        if missing:
            raise ConfigError(f'classes names {joined(missing)}, for which {self._argument} has no '
                              f'{"colour" if self.coloured else "value"}; it has {joined(names)}.')
        if len(set(self.classes)) < len(self.classes):
            twice = sorted({name for name in self.classes if self.classes.count(name) > 1})
            raise ConfigError(f'classes names {joined(twice)} twice: name each once.')
        labels = {name: label for label, name in enumerate(self.classes)}
        found: dict[int, int] = {}
        for code, name in pairs:
            label = labels.get(name, ignore_index)
            if found.setdefault(code, label) != label:
                raise ConfigError(f'{self._argument}: {self._shown(code)} stands for two classes.')
        self.codes = np.array(sorted(found), np.int64)
        self.labels = np.array([found[code] for code in self.codes.tolist()], np.uint8)
        self.colours = [next(unpacked(code) for code, other in pairs if other == name) for name in self.classes] \
            if self.coloured else None
        self._slots = hash_table(self.codes, self.labels)

    @property
    def _argument(self) -> str:
        return 'palette' if self.coloured else 'mapping'

    def _code(self, item: Any) -> int:
        return packed(item) if self.coloured else as_value(item)

    def _shown(self, code: int) -> str:
        return str(unpacked(code)) if self.coloured else str(code)

    def read(self, file: BinaryIO, path: str | Path, exif: str = 'apply') -> np.ndarray:
        """Labels (H, W) uint8 of an opened mask, turned as its EXIF orientation says unless ``exif`` is 'ignore'.

        Raises:
            AnnotationError: Values or colours that are not in the table; the message names them.
            OSError: It cannot be read.
        """
        with Image.open(file) as image:
            stored, lossy = orientation_of(image), image.format in LOSSY
            array = mask_array(image, self.coloured, path)
            loaded = orientation_of(image)
        return turned(self(array, path, lossy), stored, loaded, exif)

    def __call__(self, array: np.ndarray, path: str | Path = 'the mask', lossy: bool = False) -> np.ndarray:
        """Labels (H, W) uint8 of values (H, W), or of RGB colours (H, W, 3) uint8.

        Raises:
            AnnotationError: Values or colours that are not in the table.
        """
        codes = pack(array) if self.coloured else array
        if self.nearest:
            seen, inverse = np.unique(codes, return_inverse=True)
            return self._nearest(seen)[inverse].reshape(codes.shape)
        keys, labels = self._slots
        slots = codes % len(keys)
        known = keys[slots] == codes
        if not known.all():
            raise self._refusal(codes[~known], codes.size, path, lossy)
        return labels[slots]

    def _nearest(self, codes: np.ndarray) -> np.ndarray:
        points, known = (channels_of(codes), channels_of(self.codes)) if self.coloured else \
            (codes.astype(np.int64)[:, None], self.codes[:, None])
        apart = (points[:, None] - known) ** 2
        return self.labels[apart.sum(-1).argmin(1)]

    def _refusal(self, codes: np.ndarray, size: int, path: str | Path, lossy: bool) -> UnknownValuesError:
        values, counts = np.unique(codes, return_counts=True)
        order = np.argsort(-counts, kind='stable')
        what = 'colours' if self.coloured else 'values'
        shown = [unpacked(v) if self.coloured else v for v in values[order].tolist()]
        text = (f'{path}: {what} {joined(shown, 4)} '
                f'({100 * len(codes) / size:.2g} % of its pixels) are not in {self._argument}')
        if lossy:
            return UnknownValuesError(f'{text}. JPEG masks are not exact: nearest=True takes the nearest {what[:-1]}, '
                                      'or save them as PNG.', shown, near=True)
        if self.coloured:
            if np.isin([packed(unpacked(value)[::-1]) for value in values.tolist()], self.codes).all():
                return UnknownValuesError(f'{text}, but they are with red and blue swapped: write the colours as (R, '
                                          'G, B).', shown, swapped=True)
            apart = np.abs(channels_of(values)[:, None] - channels_of(self.codes)).max(-1).min(1)
            if apart.max() <= 16:
                return UnknownValuesError(f'{text}; each is within {apart.max()} of a colour that is: resized or '
                                          'compressed masks are not exact. nearest=True takes the nearest colour.',
                                          shown, near=True)
        known = joined([self._shown(code) for code in self.codes.tolist()], 12)
        return UnknownValuesError(f'{text} ({known}): add them, or list them in ignored.', shown)


def of_mapping(mapping: Mapping[Any, str]) -> list[tuple[int, str]]:
    """(value, name) in the order of the values; of '255' (an override on the command line) beside 255 the last."""
    found = {as_value(value): str(name) for value, name in mapping.items()}
    return sorted(found.items())


def of_palette(palette: Mapping[str, Any]) -> list[tuple[int, str]]:
    """(packed colour, name), in order, of names with one colour or several."""
    pairs = []
    for name, colours in palette.items():
        several = len(colours) > 0 and not isinstance(colours[0], int)
        pairs += [(packed(colour), str(name)) for colour in (colours if several else [colours])]
    return pairs


def as_value(item: Any) -> int:
    """A value of a mask; digits, as the command line and JSON give them, are one too."""
    if isinstance(item, str) and item.strip().isdecimal():
        return int(item)
    if isinstance(item, bool) or not isinstance(item, int) or item < 0:
        raise ConfigError(f'mapping: {item!r} is no value of a mask, a whole number from 0 up.')
    return item


def packed(colour: Colour) -> int:
    """An RGB colour as one number."""
    if len(colour) != 3 or not all(isinstance(v, int) and 0 <= v <= 255 for v in colour):
        raise ConfigError(f'palette: {colour!r} is no colour, three whole numbers (R, G, B) from 0 to 255.')
    red, green, blue = colour
    return red << 16 | green << 8 | blue


def unpacked(code: int) -> tuple[int, int, int]:
    """The RGB colour of :func:`packed`."""
    return code >> 16, code >> 8 & 255, code & 255


def pack(colours: np.ndarray) -> np.ndarray:
    """Colours (H, W, 3) uint8 as numbers (H, W) int32."""
    wide = colours.astype(np.int32)
    return wide[..., 0] << 16 | wide[..., 1] << 8 | wide[..., 2]


def channels_of(codes: np.ndarray) -> np.ndarray:
    """Packed colours (N, ) as (N, 3) int64."""
    codes = np.asarray(codes, np.int64)
    return np.stack([codes >> 16, codes >> 8 & 255, codes & 255], -1)


def hash_table(codes: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Keys and labels (M, ) with code c at place c mod M, for the least M that gives each code a place of its own."""
    size = max(1, len(codes))
    while len(set((codes % size).tolist())) < len(codes):
        size += 1
    wide = np.int32 if len(codes) and codes.max() < 1 << 31 else np.int64
    keys, table = np.full(size, UNKNOWN, wide), np.zeros(size, np.uint8)
    keys[codes % size], table[codes % size] = codes, labels
    return keys, table


def mask_array(image: Image.Image, coloured: bool, path: str | Path) -> np.ndarray:
    """What an opened mask holds: RGB colours (H, W, 3) uint8, or values (H, W); an alpha channel is dropped.

    Raises:
        AnnotationError: Colours where values are needed, or fractions.
    """
    if coloured:
        return np.asarray(image.convert('RGB'))
    array = np.asarray(image)
    if array.ndim == 3:
        bands = array[..., :1 if image.mode == 'LA' else 3]
        if (bands != bands[..., :1]).any():
            raise AnnotationError(f'{path}: a coloured mask ({image.mode}), and mapping is of values: write '
                                  'palette={NAME: (R, G, B)} instead.')
        array = bands[..., 0]
    if array.dtype.kind == 'f':
        refuse_fractions(path, array)
        array = array.astype(np.int64)
    return array.astype(np.uint8) if array.dtype == bool else array


def refuse_fractions(path: str | Path, labels: np.ndarray) -> None:
    """Raise an AnnotationError if a mask holds other than whole numbers."""
    if labels.dtype.kind == 'f' and (labels != np.rint(labels)).any():
        raise AnnotationError(f'{path}: labels are whole numbers, this map has fractions: resized, perhaps; masks are '
                              'resized with nearest neighbour.')
