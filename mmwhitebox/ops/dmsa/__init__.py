r"""Decoupled Membership-Subspace Attention (DMSA, arXiv 2601.17042, eq. 13-18).

    Pi = softmax_heads(L)                    membership, from logits of its own
    G  = ST_heads(L)                         selection of subspaces from the full space S
    W  = G * S                               token j uses head k's basis scaled by G_kj
    M_k = (Pi_k / sum_n Pi_kn) W_k^2
    DMSA(S, L) = -(Pi * W) / (1 + M)

ST is soft thresholding onto the simplex, :func:`mmwhitebox.ops.sparsemax`. **reading**: ST acts on the
logits L, not on Pi, which lies on the simplex already and would pass unchanged.
"""

from torch import Tensor

from ..dispatch import run
from ..operator import Kernels, Operator
from . import eager, naive
from .naive import GATES, MEMBERSHIPS, dmsa_gate, dmsa_membership

__all__ = ['GATES', 'MEMBERSHIPS', 'dmsa', 'dmsa_gate', 'dmsa_membership', 'operator']


def _kernels() -> Kernels | None:
    try:
        from . import triton
    except ImportError:
        return None
    return Kernels(triton.dmsa, triton.unsupported)


operator = Operator('dmsa', naive.dmsa, eager.dmsa, _kernels)


def dmsa(s: Tensor,
         logits: Tensor,
         membership_act: str | None = 'softmax',
         gate_act: str | None = 'st',
         impl: str = 'auto') -> Tensor:
    """Decoupled Membership-Subspace Attention of tokens in the full space.

    Args:
        s (Tensor): Tokens in the full space S, (B, K, N, p).
        logits (Tensor): Logits L of membership and selection, (B, K, N).
        membership_act (str, optional): See :func:`dmsa_membership`. Defaults to 'softmax'.
        gate_act (str, optional): See :func:`dmsa_gate`. Defaults to 'st'.
        impl (str): The form, see :mod:`mmwhitebox.ops.dispatch`. Defaults to 'auto'.

    Returns:
        Tensor: -(Pi * W) / (1 + M), (B, K, N, p), before the output map.
    """
    return run(operator, impl, s, logits, membership_act, gate_act)
