"""What a look at images and masks gave."""
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

MASK_KINDS = {
    'index': 'grey masks of small whole numbers',
    'palette': 'masks of indices into a palette (mode P)',
    'rgb': 'masks of colours',
    'sparse': 'grey masks of a few values far apart, such as 0 and 255',
    'float': 'masks of fractions',
}


class Value(NamedTuple):
    """A value of masks.

    Attributes:
        value (int | float | tuple[int, int, int]): The value, or the colour in RGB.
        files (int): Masks that hold it.
        share (float): Of all pixels looked at.
    """
    value: int | float | tuple[int, int, int]
    files: int
    share: float


@dataclass
class Findings:
    """What :func:`look` found.

    Attributes:
        images (int): Images that were looked at.
        masks (int): Masks that were looked at.
        kind (str | None): Of :data:`MASK_KINDS`, that of most masks; None without masks.
        values (list[Value]): In the order of the values; at most ``MOST_VALUES``, the most frequent.
        exact (bool): Whether the values are those that were drawn; False of JPEG and of smoothly resized masks.
        nearest (list): If not exact: the main values, of which the nearest is meant for each pixel; else empty.
        palette (dict[int, tuple[int, int, int]]): Of 'palette': the colour of each index that occurs.
        sizes (dict[tuple[int, int], int]): (width, height) of the images, upright -> number, the most frequent first.
        channels (dict[int, int]): Channels without alpha -> number of images, the most frequent first.
        bit_depths (dict[int, int]): Bits a channel -> number of images, the most frequent first; 32 of floats too.
        types (dict[str, int]): Type of the values, such as 'uint16' -> number of images, the most frequent first.
        kinds (dict[tuple[int, str], list[Path]]): The images of each number of channels and type of values.
        smallest (float): Smallest value of an image.
        largest (float): Largest value of an image.
        mean (tuple[float, ...]): Of each channel (RGB), over all pixels, in the values of the files; of the training
            images, if there are splits, that can be used and have the most frequent number of channels.
        std (tuple[float, ...]): As ``mean``.
        measured (int): Images that ``mean`` and ``std`` may be of.
        not_finite (list[Path]): Images with values that are NaN or infinite.
        alpha (list[Path]): Images with an alpha channel.
        read (list[Path]): Masks whose values were counted.
        mismatched (list[Path]): Images whose mask has another size.
        unreadable (list[Path]): Images and masks that cannot be read.
        reasons (list[str]): Why, in the same order.
        starts_at_one (bool): Whether the masks are indices of which 0 never occurs.
        problems (list[str]): One line each: what was seen, in how many files, what to do.
    """
    images: int = 0
    masks: int = 0
    kind: str | None = None
    values: list[Value] = field(default_factory=list)
    exact: bool = True
    nearest: list = field(default_factory=list)
    palette: dict[int, tuple[int, int, int]] = field(default_factory=dict)
    sizes: dict[tuple[int, int], int] = field(default_factory=dict)
    channels: dict[int, int] = field(default_factory=dict)
    bit_depths: dict[int, int] = field(default_factory=dict)
    types: dict[str, int] = field(default_factory=dict)
    kinds: dict[tuple[int, str], list[Path]] = field(default_factory=dict)
    smallest: float = 0
    largest: float = 0
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    measured: int = 0
    not_finite: list[Path] = field(default_factory=list)
    alpha: list[Path] = field(default_factory=list)
    read: list[Path] = field(default_factory=list)
    mismatched: list[Path] = field(default_factory=list)
    unreadable: list[Path] = field(default_factory=list)
    reasons: list[str] = field(default_factory=list)
    starts_at_one: bool = False
    problems: list[str] = field(default_factory=list)
