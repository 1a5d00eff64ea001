"""One switch for the form of an operator: plain PyTorch, or fused Triton kernels.

==========  ======================================================================================
``impl``    what runs
==========  ======================================================================================
'auto'      fused on a GPU wherever the kernels take the call, otherwise plain
'torch'     plain, always
'triton'    fused wherever the kernels take the call; building fails where triton cannot be imported
==========  ======================================================================================

Where a GPU's tensors (with 'triton': any tensors) are not taken by the kernels the plain form runs, and one line per
operator and reason says so. While a model is exported the plain form runs, silently: a kernel is no part of a graph.
"""
import importlib
import logging
from collections.abc import Callable
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

IMPLS = ('auto', 'torch', 'triton')

logger = logging.getLogger('mmwhitebox.ops')

_said = set()


@torch.compiler.assume_constant_result  # torch.compile runs it once, as it traces
def _say_once(op: str, reason: str) -> None:
    if (op, reason) not in _said:
        _said.add((op, reason))
        logger.warning('%s runs in its plain PyTorch form, not fused: %s.', op, reason)


def _exporting() -> bool:
    return torch.compiler.is_exporting() or torch.jit.is_tracing() or torch.onnx.is_in_onnx_export()


def _triton_error() -> ImportError | None:
    """Why triton cannot be imported, or None."""
    try:
        importlib.import_module('triton')
    except ImportError as error:
        return error
    return None


class Operator:
    """An operator that picks its form at every call, from the tensors it is called with.

    It is copied and pickled by its two names: a model built on one machine takes the kernels of the next.

    Args:
        op (str): Name of the operator, a function in :mod:`mmwhitebox.ops`.
        impl (str): 'auto' or 'triton', see :func:`choose`.
    """

    def __init__(self, op: str, impl: str) -> None:
        self.op = op
        self.impl = impl
        self.plain = _plain(op)
        wanted = impl == 'triton' or torch.cuda.is_available()
        self.fused: ModuleType | None = _fused(op) if wanted and _triton_error() is None else None

    def __reduce__(self) -> tuple:
        return choose, (self.op, self.impl)

    def __repr__(self) -> str:
        return f'{type(self).__name__}({self.op!r}, {self.impl!r})'

    def __call__(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        if _exporting() or self.impl == 'auto' and not x.is_cuda:
            return self.plain(x, *args, **kwargs)
        if self.fused is None:
            reason = 'triton cannot be imported'
        else:
            reason = self.fused.unsupported(x, *args, **kwargs)
        if reason is not None:
            _say_once(self.op, reason)
            return self.plain(x, *args, **kwargs)
        return getattr(self.fused, self.op)(x, *args, **kwargs)


def _plain(op: str) -> Callable[..., Tensor]:
    return getattr(importlib.import_module(f'mmwhitebox.ops.{op}'), op)


def _fused(op: str) -> ModuleType:
    return importlib.import_module(f'mmwhitebox.ops.triton.{op}')


def choose(op: str, impl: str = 'auto') -> Callable[..., Tensor]:
    """The form of an operator that a module calls, read once, when the module is built.

    Args:
        op (str): Name of the operator: 'cbsa', 'tssa', 'dmsa' or 'ista'.
        impl (str): 'auto', 'torch' or 'triton', see the table above. Defaults to 'auto'.

    Returns:
        Callable: Takes what ``mmwhitebox.ops.<op>`` takes.

    Raises:
        ValueError: If ``impl`` is not one of the three.
        ImportError: If ``impl`` is 'triton' and triton cannot be imported.
    """
    if impl not in IMPLS:
        raise ValueError(f'{op}: impl must be one of {IMPLS}, got {impl!r}.')
    if impl == 'torch':
        return _plain(op)
    error = _triton_error() if impl == 'triton' else None
    if error is not None:
        raise ImportError(f"{op}: impl='triton' needs triton, which cannot be imported: {error}. "
                          "Install it (pip install triton), or set impl='auto' or impl='torch'.") from error
    return Operator(op, impl)
