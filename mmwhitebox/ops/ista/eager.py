r"""ISTA for any device, fast: see :mod:`mmwhitebox.ops.ista`. The three products x W - x W^T W fold into one:

    M = eta (W - W^T W),          y = relu(x + x M - eta lambda)

M costs as much as D more tokens would. For fewer tokens than D the two products eta (x - x W^T) W are cheaper.
The backward pass keeps x, y, and M or x - x W^T, whichever was made.
"""
import torch
from torch import Tensor

from ..precision import add_product, no_autocast, widen
from ..resampling import is_symbolic


def ista(x: Tensor, weight: Tensor, eta: float = 0.1, lam: float = 0.1) -> Tensor:
    """y, of the shape and dtype of x; arguments as of :func:`mmwhitebox.ops.ista`."""
    tokens = x.reshape(-1, x.shape[-1])
    if is_symbolic(tokens.shape[0]) or tokens.shape[0] >= x.shape[-1]:
        wide = widen(weight)
        with no_autocast(x):
            m = torch.addmm(wide, wide.mT, wide, beta=eta, alpha=-eta)  # (D, D)
        y = add_product(tokens, tokens, m)
    else:
        y = add_product(tokens, add_product(tokens, tokens, weight.mT, -1), weight, eta)
    return y.sub_(eta * lam).relu_().view(x.shape)
