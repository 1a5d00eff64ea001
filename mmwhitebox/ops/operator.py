"""An operator with more than one form."""
import importlib
from collections.abc import Callable
from types import ModuleType
from typing import NamedTuple

import torch
from torch import Tensor

_modules: dict[str, ModuleType] = {}  # where torch.compile finds what it cannot import itself


@torch.compiler.assume_constant_result
def _imported(name: str) -> bool:
    try:
        _modules[name] = importlib.import_module(f'mmwhitebox.ops.{name}.triton')
    except ImportError:
        return False
    return True


class Kernels(NamedTuple):
    """The fused form of an operator.

    Attributes:
        run (Callable): Takes what the other forms take.
        unsupported (Callable): Takes the same and says in a few words why that call cannot run fused, or None.
    """
    run: Callable[..., Tensor]
    unsupported: Callable[..., str | None]


class Operator(NamedTuple):
    """The forms of an operator; the fused one is in the file ``triton.py`` of the folder with its name.

    Attributes:
        name (str): Its name.
        naive (Callable): The equation.
        eager (Callable): The fast form for any device.
    """
    name: str
    naive: Callable[..., Tensor]
    eager: Callable[..., Tensor]

    def kernels(self) -> Kernels | None:
        """The fused form, imported now; None where triton cannot be imported."""
        if not _imported(self.name):
            return None
        module = _modules[self.name]
        return Kernels(getattr(module, self.name), module.unsupported)
