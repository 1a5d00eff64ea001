r"""The channel-attention variant of CBSA (CBSA, NeurIPS 2025, eq. 13), the core of TSSA.

    out_i = w_i / (1 + p / (N eps^2) sum_n w_ni^2)       for every channel i of a head

The representatives are fixed along the basis vectors of each subspace, so eq. 12 becomes diagonal:
every channel is scaled by its own second moment.
"""
from torch import Tensor

from .dispatch import no_kernels
from .precision import widen


def channel_attention(w: Tensor, eps_squared: float = 0.01, impl: str = 'auto') -> Tensor:
    """Shrink every channel of every head by its second moment over the tokens.

    Args:
        w (Tensor): Projected tokens W, (B, K, N, p).
        eps_squared (float): eps^2 of the coding rate. Defaults to 0.01.
        impl (str): One form serves all, see :mod:`mmwhitebox.ops.dispatch`. Defaults to 'auto'.

    Returns:
        Tensor: W scaled channel by channel, (B, K, N, p).
    """
    no_kernels('channel_attention', impl)
    n, p = w.shape[-2:]
    x = widen(w)
    second_moment = x.square().sum(-2, keepdim=True)  # (B, K, 1, p)
    return (x / (1 + p / (n * eps_squared) * second_moment)).to(w.dtype)
