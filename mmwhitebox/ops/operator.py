"""An operator with more than one form."""
from collections.abc import Callable
from typing import NamedTuple

from torch import Tensor


class Kernels(NamedTuple):
    """The fused form of an operator.

    Attributes:
        run (Callable): Takes what the other forms take.
        unsupported (Callable): Takes the same and says in a few words why that call cannot run fused, or None.
    """
    run: Callable[..., Tensor]
    unsupported: Callable[..., str | None]


class Operator(NamedTuple):
    """The forms of an operator.

    Attributes:
        name (str): Its name.
        naive (Callable): The equation.
        eager (Callable): The fast form for any device.
        kernels (Callable): Imports the fused form; None where triton cannot be imported.
    """
    name: str
    naive: Callable[..., Tensor]
    eager: Callable[..., Tensor]
    kernels: Callable[[], Kernels | None]
