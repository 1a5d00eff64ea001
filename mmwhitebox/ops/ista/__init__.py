r"""ISTA, the sparsifying feed-forward of CRATE and CBT: one proximal gradient step on a dictionary.

    y = relu(x + eta (D^T x - D^T D x) - eta lambda)          for a column x

Tokens are rows here, D^T x <- x W: y = relu(x + eta (x W - x W^T W) - eta lambda).
"""
from torch import Tensor

from ..dispatch import run
from ..operator import Kernels, Operator
from . import eager, naive

__all__ = ['ista', 'operator']


def _kernels() -> Kernels | None:
    try:
        from . import triton
    except ImportError:
        return None
    return Kernels(triton.ista, triton.unsupported)


operator = Operator('ista', naive.ista, eager.ista, _kernels)


def ista(x: Tensor, weight: Tensor, eta: float = 0.1, lam: float = 0.1, impl: str = 'auto') -> Tensor:
    """One ISTA step. There is no residual around it: y replaces x and is not negative.

    Args:
        x (Tensor): Tokens, (..., D).
        weight (Tensor): Dictionary W, (D, D).
        eta (float): Step size. Defaults to 0.1.
        lam (float): Weight lambda of the sparsity term. Defaults to 0.1.
        impl (str): The form, see :mod:`mmwhitebox.ops.dispatch`. Defaults to 'auto'.

    Returns:
        Tensor: y, of the shape and dtype of x.
    """
    return run(operator, impl, x, weight, eta, lam)
