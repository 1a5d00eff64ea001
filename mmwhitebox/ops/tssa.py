r"""Token Statistics Self-Attention (ToST, ICLR 2025).

    Wn   = W / ||W||_2 over the tokens
    Pi   = softmax_heads(temp_k sum_i Wn_i^2)                   membership of a token in the K subspaces
    M_k  = (Pi_k / sum_n Pi_kn) W_k^2                           second moment of each channel of a head
    TSSA(W) = -(Pi * W) / (1 + M)

No token is compared with another: each channel is scaled by a statistic of all tokens, linear in N.
"""
from torch import Tensor

from .precision import widen


def scale_by_second_moment(w: Tensor, pi: Tensor) -> Tensor:
    """-(Pi * W) / (1 + M): what TSSA and DMSA share once the membership is known.

    Args:
        w (Tensor): Projected tokens W, (B, K, N, p).
        pi (Tensor): Membership Pi, (B, K, N), not negative.

    Returns:
        Tensor: The compression step, (B, K, N, p).
    """
    x = widen(w)
    pi = pi.to(x.dtype).unsqueeze(-1)  # (B, K, N, 1)
    weighted = pi * x
    second_moment = (weighted * x).sum(-2, keepdim=True) / (pi.sum(-2, keepdim=True) + 1e-8)  # (B, K, 1, p)
    return (weighted / (-1 - second_moment)).to(w.dtype)


def tssa_membership(w: Tensor, temp: Tensor) -> Tensor:
    """Membership of every token: a softmax over the heads of its energy in each subspace.

    Args:
        w (Tensor): Projected tokens W, (B, K, N, p).
        temp (Tensor): One temperature per head, (K, 1).

    Returns:
        Tensor: Pi, (B, K, N), summing to one over the heads; float32 or wider.
    """
    squares = widen(w).square()
    norms = squares.sum(-2, keepdim=True).clamp_min(1e-24)  # (B, K, 1, p): squared norms over the tokens
    energy = (squares * norms.reciprocal()).sum(-1)  # (B, K, N)
    return (temp * energy).softmax(1)


def tssa(w: Tensor, temp: Tensor) -> Tensor:
    """Token Statistics Self-Attention of projected tokens.

    Args:
        w (Tensor): Projected tokens W, (B, K, N, p).
        temp (Tensor): One temperature per head, (K, 1).

    Returns:
        Tensor: -(Pi * W) / (1 + M), (B, K, N, p), before the output map.
    """
    return scale_by_second_moment(w, tssa_membership(w, temp))
