"""Sizes and choices that a model is built of."""
from collections.abc import Collection
from typing import Any


def check_sizes(owner: object, least: int = 1, **sizes: Any) -> None:
    """Raise a ValueError for a size that is no integer, or is too small.

    Args:
        owner (object): Whose argument it is; its class is named.
        least (int): Smallest size allowed. Defaults to 1.
        **sizes: Arguments by name; an integer, or a list or tuple of integers. None passes.
    """
    for name, value in sizes.items():
        values = value if isinstance(value, (list, tuple)) else [value]
        if value is not None and not all(isinstance(v, int) and not isinstance(v, bool) and v >= least for v in values):
            wanted = 'a positive integer' if least == 1 else f'an integer of {least} or more'
            raise ValueError(f'{type(owner).__name__}: {name}={value!r} must be {wanted}.')


def check_choices(owner: object, **choices: tuple[Any, Collection]) -> None:
    """Raise a ValueError for an argument that is none of the known ones, given as ``name=(value, known)``."""
    for name, (value, known) in choices.items():
        if value not in known:
            raise ValueError(f'{type(owner).__name__}: {name} must be one of {tuple(known)}, got {value!r}.')


def whole_patches(size: tuple[int, int], patch: tuple[int, int]) -> tuple[int, int]:
    """Pixels (height, width) of the whole patches that cover an image of ``size``."""
    (height, width), (rows, cols) = size, patch
    return (height + rows - 1) // rows * rows, (width + cols - 1) // cols * cols  # see BaseStem.grid_size
