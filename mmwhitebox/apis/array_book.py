"""Arrays that are collected one by one under names, for :mod:`.array_container`."""
from collections.abc import Set

import numpy as np
from torch import Tensor


class ArrayBook:
    """Arrays by name, and how finely each may be quantised.

    Attributes:
        arrays (dict[str, np.ndarray]): float32, uint8 or int32.
        group_axes (dict[str, int]): Leading axes of an array, every element of which has a scale of its own.
    """

    def __init__(self) -> None:
        self.arrays: dict[str, np.ndarray] = {}
        self.group_axes: dict[str, int] = {}

    def add(self, name: str, array: Tensor | np.ndarray, group_axes: int = 0) -> str:
        """Keep an array, a tensor as float32.

        Returns:
            str: Its name.
        """
        self.arrays[name] = array.detach().float().cpu().numpy() if isinstance(array, Tensor) else array
        self.group_axes[name] = group_axes
        return name

    def without(self, names: Set[str]) -> 'ArrayBook':
        """A book without some arrays; the others are shared."""
        book = ArrayBook()
        book.arrays = {name: array for name, array in self.arrays.items() if name not in names}
        book.group_axes = {name: axes for name, axes in self.group_axes.items() if name not in names}
        return book
