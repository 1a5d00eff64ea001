r"""ISTA in the three products of its definition; see :mod:`mmwhitebox.ops.ista`."""
from torch import Tensor

from ..precision import no_autocast, widen


def ista(x: Tensor, weight: Tensor, eta: float = 0.1, lam: float = 0.1) -> Tensor:
    """y, of the shape and dtype of x; arguments as of :func:`mmwhitebox.ops.ista`."""
    tokens, w = widen(x), widen(weight)
    with no_autocast(x):
        y = tokens + eta * (tokens @ w - tokens @ w.mT @ w) - eta * lam
    return y.relu().to(x.dtype)
