"""How the operators with a backward pass of their own are called."""
from typing import Any

import torch

from .precision import no_autocast


def call(function: type[torch.autograd.Function], *inputs: Any) -> Any:
    """``function.apply(*inputs)``, outside autocast, as its forward pass chooses its types itself.

    Where no gradient can be asked for, the forward pass runs alone: ``apply`` inspects signatures, which takes
    longer than a small operator.
    """
    with no_autocast(inputs[0]):
        return function.apply(*inputs) if torch.is_grad_enabled() else function.forward(*inputs)
