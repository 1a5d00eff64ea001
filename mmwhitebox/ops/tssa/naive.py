r"""TSSA term by term; see :mod:`mmwhitebox.ops.tssa`."""
from torch import Tensor

from ..precision import widen

EPS = 1e-8
"""Added to sum_n Pi_kn, so that a subspace without members has no second moment."""
MIN_NORM = 1e-24
"""Least squared norm of a channel: one without energy stays zero."""


def tssa_membership(w: Tensor, temp: Tensor) -> Tensor:
    """Membership of every token: a softmax over the heads of its energy in each subspace.

    Args:
        w (Tensor): Projected tokens W, (B, K, N, p).
        temp (Tensor): One temperature per head, (K, 1).

    Returns:
        Tensor: Pi, (B, K, N), summing to one over the heads; float32 or wider.
    """
    squares = widen(w).square()
    energy = (squares / squares.sum(-2, keepdim=True).clamp_min(MIN_NORM)).sum(-1)  # (B, K, N)
    return (temp * energy).softmax(1)


def scale_by_second_moment(w: Tensor, pi: Tensor, gate: Tensor | None = None) -> Tensor:
    """-(Pi G * W) / (1 + M), (B, K, N, p): what TSSA and DMSA share once the membership is known.

    Args:
        w (Tensor): Projected tokens W, (B, K, N, p).
        pi (Tensor): Membership Pi, (B, K, N), not negative.
        gate (Tensor, optional): G, (B, K, N): takes G * W for W.
    """
    x, pi = widen(w), widen(pi)[..., None]
    if gate is not None:
        x = widen(gate)[..., None] * x
    m = (pi / (pi.sum(-2, keepdim=True) + EPS) * x.square()).sum(-2, keepdim=True)  # (B, K, 1, p)
    return (-pi * x / (1 + m)).to(w.dtype)


def tssa(w: Tensor, temp: Tensor) -> Tensor:
    """-(Pi * W) / (1 + M), (B, K, N, p); arguments as of :func:`mmwhitebox.ops.tssa`."""
    return scale_by_second_moment(w, tssa_membership(w, temp))
