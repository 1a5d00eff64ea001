"""What the fast forms share: autograd functions that are differentiated once, by ``backward``."""
from collections.abc import Callable
from functools import cache, wraps
from typing import Any

import torch
from torch import Tensor

from .precision import no_autocast


def refuse(name: str, what: str) -> None:
    """Raise the RuntimeError about a derivative that the fast forms of an operator do not have."""
    raise RuntimeError(
        f"{name}: the fast forms have one derivative, by backward(). For {what} take the form that is written out: "
        "`with mmwhitebox.ops.use('naive'):` around the forward pass, or impl='naive' in every part of the model.")


class FirstOrder(torch.autograd.Function):
    """Base of the fast forms, which have a backward pass and no other derivative."""

    name: str
    """Name of the operator."""

    @classmethod
    def call(cls, *inputs: Any) -> Any:
        """``apply``, outside autocast, as the forward pass chooses its types itself.

        Where no gradient can be asked for, the forward pass runs alone: ``apply`` inspects signatures, which takes
        longer than a small operator.
        """
        with no_autocast(inputs[0]):
            if torch.compiler.is_compiling():
                return cls.apply(*inputs) if torch.is_grad_enabled() else cls.forward(*inputs)
            if torch.is_grad_enabled() or torch._C._are_functorch_transforms_active():
                return in_words(cls).apply(*inputs)
            return cls.forward(*inputs)


class Refusals:
    """Forward-mode derivatives and vmap of a fast form are refused in words."""

    @classmethod
    def jvp(cls, *args) -> None:
        refuse(cls.name, 'a forward-mode derivative (jvp)')

    @classmethod
    def vmap(cls, *args) -> None:
        refuse(cls.name, 'vmap')


@cache
def in_words(cls: type[FirstOrder]) -> type[FirstOrder]:
    """A fast form with the refusals, which torch.compile cannot trace."""
    return type(cls.__name__, (Refusals, cls), {})


class _Once(torch.autograd.Function):
    """Hands gradients on; whoever differentiates them again is told the form that can do it."""

    @staticmethod
    def forward(name: str, outputs: int, *tensors: Tensor | None) -> tuple[Tensor | None, ...]:
        return tensors[:outputs]

    @staticmethod
    def setup_context(ctx, inputs, output) -> None:
        ctx.name = inputs[0]

    @staticmethod
    def backward(ctx, *grads) -> None:
        refuse(ctx.name, 'a gradient of a gradient')

    @staticmethod
    def jvp(ctx, *grads) -> None:
        refuse(ctx.name, 'a gradient of a gradient')


def operator_name(node: type) -> str:
    """The operator whose backward node this is; under torch.func its class is one that torch has derived."""
    name = getattr(node._forward_cls, 'name', None)
    return name if isinstance(name, str) else \
        node.__name__.removeprefix('_').removesuffix('GeneratedBackward').lower()


def first_order(backward: Callable) -> Callable:
    """A backward pass, ``backward(ctx, saved_tensors, *grads)``, that is not differentiable: to try is an error.

    Unlike torch's ``once_differentiable``, also where only the saved tensors need a gradient, as below a sum.
    """

    @wraps(backward)
    def wrapper(ctx, *grads):
        saved = ctx.saved_tensors
        if torch.compiler.is_compiling():
            return backward(ctx, saved, *grads)
        with torch.no_grad():
            outputs = backward(ctx, saved, *grads)
        if not torch.is_grad_enabled():
            return outputs
        outputs = outputs if isinstance(outputs, tuple) else (outputs, )
        return _Once.apply(operator_name(type(ctx)), len(outputs), *outputs, *grads, *saved)

    return wrapper


def refuse_second(name: str) -> Callable:
    """Autograd formula of a custom operator that is itself a backward pass."""

    def formula(ctx, *grads: Tensor) -> None:
        refuse(name, 'a gradient of a gradient')

    return formula
