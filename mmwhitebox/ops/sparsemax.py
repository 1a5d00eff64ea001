r"""Soft thresholding ST onto the simplex (DMSA, eq. 13-14), known as sparsemax (ICML 2016).

    ST(z)_i = max(z_i - tau(z), 0),     tau such that sum_i ST(z)_i = 1

This is the Euclidean projection of z onto the probability simplex. Sorted, z_(1) >= z_(2) >= ...,

    tau = max_j tau_j,      tau_j = (sum_{i<=j} z_(i) - 1) / j

because tau_{j+1} is the mean of j times tau_j and of z_(j+1): it grows as long as z_(j+1) > tau_j, that is as
long as the support takes z_(j+1) in, and falls from there on.
On the support S = {i : ST(z)_i > 0} the Jacobian is I - 1 1^T / |S|, elsewhere zero.
"""
import torch
from torch import Tensor

from .autograd import FirstOrder
from .dispatch import is_naive
from .precision import widen


class _Sparsemax(FirstOrder):
    """The projection, with the backward pass from its output alone."""

    name = 'sparsemax'

    @staticmethod
    def forward(z: Tensor, dim: int) -> Tensor:
        x = widen(z).movedim(dim, -1)
        ordered = x.sort(-1, descending=True).values
        top = ordered[..., :1]  # the projection ignores a shift; sums of small numbers are exact
        ranks = torch.arange(1, x.shape[-1] + 1, dtype=x.dtype, device=x.device)
        tau = (ordered - top).cumsum(-1).sub_(1).div_(ranks).amax(-1, keepdim=True)
        return (x - top).sub_(tau).clamp_min_(0).movedim(-1, dim).to(z.dtype)

    @staticmethod
    def setup_context(ctx, inputs, output) -> None:
        ctx.dim = inputs[1]
        ctx.save_for_backward(output)

    @staticmethod
    def backward(ctx, grad):
        support = ctx.saved_tensors[0] > 0
        inside = widen(grad) * support
        mean = inside.sum(ctx.dim, keepdim=True) / support.sum(ctx.dim, keepdim=True)
        return ((inside - mean) * support).to(grad.dtype), None


def _written_out(z: Tensor, dim: int) -> Tensor:
    """max(z - tau_k, 0), k the largest j with z_(j) > tau_j."""
    x = widen(z).movedim(dim, -1)
    x = x - x.detach().amax(-1, keepdim=True)  # the projection ignores a shift; sums of small numbers are exact
    ordered = x.sort(-1, descending=True).values
    tau = (ordered.cumsum(-1) - 1) / torch.arange(1, x.shape[-1] + 1, dtype=x.dtype, device=x.device)
    k = (ordered > tau).sum(-1, keepdim=True)
    tau = tau.gather(-1, k - 1)
    return (x - tau).relu().movedim(-1, dim).to(z.dtype)


def sparsemax(z: Tensor, dim: int = -1, impl: str = 'auto') -> Tensor:
    """Project onto the simplex along a dimension: weights that sum to one, most of them exactly zero.

    Args:
        z (Tensor): Logits of any shape.
        dim (int): The dimension to project along. Defaults to -1.
        impl (str): The form, see :mod:`mmwhitebox.ops.dispatch`. Defaults to 'auto'.

    Returns:
        Tensor: ST(z), of the same shape and dtype.
    """
    return _written_out(z, dim) if is_naive(impl) else _Sparsemax.call(z, dim)
