r"""Token Statistics Self-Attention (ToST, ICLR 2025).

    E_n  = sum_c W_nc^2 / q_c,      q_c = sum_n W_nc^2          energy of the normalised tokens
    Pi   = softmax_heads(temp_k E)                              membership of a token in the K subspaces
    M_k  = (Pi_k / sum_n Pi_kn) W_k^2                           second moment of each channel of a head
    TSSA(W) = -(Pi * W) / (1 + M)

No token is compared with another: each channel is scaled by a statistic of all tokens, linear in N.
"""
from torch import Tensor

from ..dispatch import run
from ..operator import Kernels, Operator
from . import eager, naive
from .naive import tssa_membership

__all__ = ['operator', 'tssa', 'tssa_membership']


def _kernels() -> Kernels | None:
    try:
        from . import triton
    except ImportError:
        return None
    return Kernels(triton.tssa, triton.unsupported)


operator = Operator('tssa', naive.tssa, eager.tssa, _kernels)


def tssa(w: Tensor, temp: Tensor, impl: str = 'auto') -> Tensor:
    """Token Statistics Self-Attention of projected tokens.

    Args:
        w (Tensor): Projected tokens W, (B, K, N, p).
        temp (Tensor): One temperature per head, (K, 1).
        impl (str): The form, see :mod:`mmwhitebox.ops.dispatch`. Defaults to 'auto'.

    Returns:
        Tensor: -(Pi * W) / (1 + M), (B, K, N, p), before the output map.
    """
    return run(operator, impl, w, temp)
