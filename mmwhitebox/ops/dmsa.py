r"""Decoupled Membership-Subspace Attention (DMSA, arXiv 2601.17042, eq. 13-18).

    Pi = softmax_heads(L)                    membership, from logits of its own
    G  = ST_heads(L)                         selection of subspaces from the full space S
    W  = G * S                               token j uses head k's basis scaled by G_kj
    M_k = (Pi_k / sum_n Pi_kn) W_k^2
    DMSA(S, L) = -(Pi * W) / (1 + M)

ST is soft thresholding onto the simplex, :func:`mmwhitebox.ops.sparsemax`. **reading**: ST acts on the
logits L, not on Pi, which lies on the simplex already and would pass unchanged.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from .precision import widen
from .sparsemax import sparsemax
from .tssa import scale_by_second_moment

MEMBERSHIPS = {
    'softmax': lambda logits: logits.softmax(1),
    'st_tokens': lambda logits: sparsemax(logits, dim=2),
    None: torch.ones_like,
}
GATES = {
    'st': lambda logits: sparsemax(logits, dim=1),
    'sigmoid': torch.sigmoid,
    'relu': F.relu,
    'gelu': F.gelu,
    None: torch.ones_like,
}


def dmsa_membership(logits: Tensor, act: str | None = 'softmax') -> Tensor:
    """Membership Pi of the tokens in the subspaces.

    Args:
        logits (Tensor): L, (B, K, N).
        act (str, optional): 'softmax' over the heads; 'st_tokens', soft thresholding over the tokens,
            which leaves most tokens out of a subspace (the ablation TPUSA); None, Pi = 1, which turns
            the operator into gated channel attention (eq. 19-21). Defaults to 'softmax'.

    Returns:
        Tensor: Pi, (B, K, N); float32 or wider.
    """
    return MEMBERSHIPS[act](widen(logits))


def dmsa_gate(logits: Tensor, act: str | None = 'st') -> Tensor:
    """Selection gate G of the subspaces.

    Args:
        logits (Tensor): L, (B, K, N).
        act (str, optional): 'st', soft thresholding over the heads; 'sigmoid', 'relu' or 'gelu' of each
            logit; None, G = 1. Defaults to 'st'.

    Returns:
        Tensor: G, (B, K, N); float32 or wider.
    """
    return GATES[act](widen(logits))


def dmsa(s: Tensor,
         logits: Tensor,
         membership_act: str | None = 'softmax',
         gate_act: str | None = 'st') -> Tensor:
    """Decoupled Membership-Subspace Attention of tokens in the full space.

    Args:
        s (Tensor): Tokens in the full space S, (B, K, N, p).
        logits (Tensor): Logits L of membership and selection, (B, K, N).
        membership_act (str, optional): See :func:`dmsa_membership`. Defaults to 'softmax'.
        gate_act (str, optional): See :func:`dmsa_gate`. Defaults to 'st'.

    Returns:
        Tensor: -(Pi * W) / (1 + M), (B, K, N, p), before the output map.
    """
    gate = None if gate_act is None else dmsa_gate(logits, gate_act)
    return scale_by_second_moment(s, dmsa_membership(logits, membership_act), gate)
