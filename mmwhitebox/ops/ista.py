r"""ISTA, the sparsifying feed-forward of CRATE and CBT: one proximal gradient step on a dictionary.

    y = relu(x + eta (D^T x - D^T D x) - eta lambda)          for a column x

Tokens are rows here, x <- x + eta (x W - x W^T W), and the three products fold into one:

    M = eta (W - W^T W),          y = relu(x + x M - eta lambda)
"""
import torch
from torch import Tensor

from .precision import no_autocast, widen


def ista(x: Tensor, weight: Tensor, eta: float = 0.1, lam: float = 0.1) -> Tensor:
    """One ISTA step. There is no residual around it: y replaces x and is not negative.

    Args:
        x (Tensor): Tokens, (..., D).
        weight (Tensor): Dictionary W, (D, D).
        eta (float): Step size. Defaults to 0.1.
        lam (float): Weight lambda of the sparsity term. Defaults to 0.1.

    Returns:
        Tensor: y, of the shape and dtype of x.
    """
    wide = widen(weight)
    with no_autocast(x):
        m = torch.addmm(wide, wide.mT, wide, beta=eta, alpha=-eta)  # (D, D)
    return torch.add(x, x @ m.to(x.dtype)).sub_(eta * lam).relu_()
