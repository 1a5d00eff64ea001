"""One switch for the form of an operator.

==========  ====================================================================================================
``impl``    what runs
==========  ====================================================================================================
'naive'     the equation in plain torch, ``naive.py``: differentiable in every way, any number of times
'torch'     the eager form, ``eager.py``: fast and lean on any device, differentiable once by ``backward``
'triton'    the kernels, ``triton.py``, wherever they take the call, else the eager form; building fails where
            triton cannot be imported
'auto'      on a GPU the kernels, wherever they take the call and have agreed there with the naive form (see
            :mod:`mmwhitebox.ops.comparison`); else the eager form
==========  ====================================================================================================

Where a GPU's tensors (with 'triton': any tensors) are not taken by the kernels one line per operator and reason says
so. While a model is exported the eager form runs in their place, silently: a kernel is no part of a graph.
:func:`use` takes another form for everything inside a ``with``, of a model that is built already.
"""
import importlib
import logging
from collections.abc import Callable
from contextlib import AbstractContextManager, ContextDecorator, nullcontext
from contextvars import ContextVar
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

from . import comparison
from .operator import Operator

FORMS = ('auto', 'naive', 'torch', 'triton')

logger = logging.getLogger('mmwhitebox.ops')

_said = set()
_form: ContextVar[str | None] = ContextVar('mmwhitebox form of the operators', default=None)
_as_published: ContextVar[bool] = ContextVar("mmwhitebox torch's functions in the naive form", default=False)


def check_form(owner: str, form: str) -> str:
    """The form, if there is such a form here.

    Raises:
        ValueError: It is not one of the four.
        ImportError: It is 'triton' and triton cannot be imported.
    """
    if form not in FORMS:
        raise ValueError(f'{owner}: impl must be one of {FORMS}, got {form!r}.')
    error = _triton_error() if form == 'triton' else None
    if error is not None:
        raise ImportError(f"{owner}: impl='triton' needs triton, which cannot be imported: {error}. "
                          "Install it (pip install triton), or set impl='auto' or impl='torch'.") from error
    return form


def _triton_error() -> ImportError | None:
    """Why triton cannot be imported, or None."""
    try:
        importlib.import_module('triton')
    except ImportError as error:
        return error
    return None


class _AttentionWrittenOut(TorchFunctionMode):
    """Softmax attention of other libraries (timm, mmseg) in the naive form: torch's own composite of simple steps."""

    def __torch_function__(self, func: Callable, types: tuple, args: tuple = (), kwargs: dict | None = None) -> Any:
        if func is F.scaled_dot_product_attention and _form.get() == 'naive' and not _as_published.get():
            return torch.ops.aten._scaled_dot_product_attention_math(*args, **(kwargs or {}))[0]
        return func(*args, **(kwargs or {}))


class use(ContextDecorator):
    """A context in which every operator runs in one form, whatever ``impl`` a model was built with.

    It nests, can be entered again, and holds for the calling thread. The backward pass may come after it.

    Args:
        form (str): 'auto', 'naive', 'torch' or 'triton', see the table above. 'naive' also writes out torch's
            ``scaled_dot_product_attention`` in the modules of other libraries.
        as_published (bool): In the naive form, leave softmax attention to ``scaled_dot_product_attention`` and pools to
            ``adaptive_avg_pool2d``, as code that is run every day does. Defaults to False.

    Raises:
        ValueError: There is no such form.
        ImportError: It is 'triton' and triton cannot be imported.
    """

    def __init__(self, form: str, as_published: bool = False) -> None:
        self.form = check_form('mmwhitebox.ops.use', form)
        self.as_published = as_published
        self._entered: list[tuple] = []

    def __enter__(self) -> None:
        mode = _AttentionWrittenOut() if self.form == 'naive' and not self.as_published else nullcontext()
        mode.__enter__()
        self._entered.append((mode, _form.set(self.form), _as_published.set(self.as_published)))

    def __exit__(self, *error) -> None:
        mode, form, as_published = self._entered.pop()
        _as_published.reset(as_published)
        _form.reset(form)
        mode.__exit__(*error)


def recompute_contexts() -> tuple[AbstractContextManager, AbstractContextManager]:
    """``context_fn`` of torch's checkpoint: what is recomputed, perhaps in another thread, has the form it had."""
    form = _form.get()
    return nullcontext(), nullcontext() if form is None else use(form, _as_published.get())


@torch.compiler.assume_constant_result  # torch.compile runs it once, as it traces
def _within_transforms() -> bool:
    return torch._C._are_functorch_transforms_active()


def current_form(impl: str) -> str:
    """The form of a call with this ``impl``.

    Where ``torch.func`` is compiled it is the naive one: the refusals of the fast forms cannot be traced.

    Raises:
        ValueError: There is no such form.
    """
    if impl not in FORMS:
        check_form('mmwhitebox.ops', impl)
    if torch.compiler.is_compiling() and _within_transforms():
        return 'naive'
    return _form.get() or impl


def is_naive(impl: str) -> bool:
    """Whether a call with this ``impl`` runs in the naive form."""
    return current_form(impl) == 'naive'


def is_written_out(impl: str) -> bool:
    """Whether a call with this ``impl`` makes the N x N matrix of softmax attention, and that of a pool."""
    return is_naive(impl) and not _as_published.get()


@torch.compiler.assume_constant_result  # torch.compile runs it once, as it traces
def _say_once(op: str, reason: str) -> None:
    if (op, reason) not in _said:
        _said.add((op, reason))
        logger.warning('%s runs in its eager form, not fused: %s.', op, reason)


def _exporting() -> bool:
    return torch.compiler.is_exporting() or torch.jit.is_tracing() or torch.onnx.is_in_onnx_export()


def no_kernels(name: str, impl: str) -> None:
    """Say once of an operator without kernels that 'triton' was asked for."""
    if current_form(impl) == 'triton' and not _exporting():
        _say_once(name, 'it has no kernels')


def may_be_fused(x: Tensor) -> bool:
    """Whether 'auto' asks for kernels: on a GPU."""
    return x.is_cuda


def is_eager(impl: str, x: Tensor) -> bool:
    """Whether a call with this ``impl`` surely runs in the eager form."""
    form = current_form(impl)
    return form == 'torch' or form == 'auto' and not may_be_fused(x) or form != 'naive' and _exporting()


def run(operator: Operator, impl: str, x: Tensor, *args: Any) -> Tensor:
    """Run the form of an operator that ``impl``, or the :func:`use` around it, asks for."""
    form = current_form(impl)
    if form == 'naive':
        return operator.naive(x, *args)
    if is_eager(form, x):
        return operator.eager(x, *args)
    kernels = operator.kernels()
    if kernels is None:
        reason = 'triton cannot be imported'
    else:
        reason = kernels.unsupported(x, *args)
        if reason is None and form == 'auto':
            reason = comparison.refusal(operator, x, *args)
    if reason is not None:
        _say_once(operator.name, reason)
        return operator.eager(x, *args)
    return kernels.run(x, *args)
