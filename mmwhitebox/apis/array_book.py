"""Arrays that are collected one by one under names, for :mod:`.array_container`."""
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
