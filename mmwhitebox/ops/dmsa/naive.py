r"""DMSA term by term; see :mod:`mmwhitebox.ops.dmsa`."""
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from ..precision import widen
from ..sparsemax import sparsemax
from ..tssa.naive import scale_by_second_moment

MEMBERSHIPS = {
    'softmax': lambda logits, impl: logits.softmax(1),
    'st_tokens': lambda logits, impl: sparsemax(logits, 2, impl),
    None: lambda logits, impl: torch.ones_like(logits),
}
GATES = {
    'st': lambda logits, impl: sparsemax(logits, 1, impl),
    'sigmoid': lambda logits, impl: logits.sigmoid(),
    'relu': lambda logits, impl: F.relu(logits),
    'gelu': lambda logits, impl: F.gelu(logits),
    None: lambda logits, impl: torch.ones_like(logits),
}


def choose(argument: str, table: dict, act: str | None) -> Callable[[Tensor, str], Tensor]:
    """An activation by its name.

    Raises:
        ValueError: There is no such activation.
    """
    if act not in table:
        raise ValueError(f'dmsa: {argument} must be one of {tuple(table)}, got {act!r}.')
    return table[act]


def dmsa_membership(logits: Tensor, act: str | None = 'softmax', impl: str = 'auto') -> Tensor:
    """Membership Pi of the tokens in the subspaces.

    Args:
        logits (Tensor): L, (B, K, N).
        act (str, optional): 'softmax' over the heads; 'st_tokens', soft thresholding over the tokens,
            which leaves most tokens out of a subspace (the ablation TPUSA); None, Pi = 1, which turns
            the operator into gated channel attention (eq. 19-21). Defaults to 'softmax'.
        impl (str): The form of ST, see :mod:`mmwhitebox.ops.dispatch`. Defaults to 'auto'.

    Returns:
        Tensor: Pi, (B, K, N); float32 or wider.
    """
    return choose('membership_act', MEMBERSHIPS, act)(widen(logits), impl)


def dmsa_gate(logits: Tensor, act: str | None = 'st', impl: str = 'auto') -> Tensor:
    """Selection gate G of the subspaces.

    Args:
        logits (Tensor): L, (B, K, N).
        act (str, optional): 'st', soft thresholding over the heads; 'sigmoid', 'relu' or 'gelu' of each
            logit; None, G = 1. Defaults to 'st'.
        impl (str): The form of ST, see :mod:`mmwhitebox.ops.dispatch`. Defaults to 'auto'.

    Returns:
        Tensor: G, (B, K, N); float32 or wider.
    """
    return choose('gate_act', GATES, act)(widen(logits), impl)


def dmsa(s: Tensor,
         logits: Tensor,
         membership_act: str | None = 'softmax',
         gate_act: str | None = 'st') -> Tensor:
    """-(Pi * W) / (1 + M), (B, K, N, p); arguments as of :func:`mmwhitebox.ops.dmsa`."""
    pi, g = dmsa_membership(logits, membership_act, 'naive'), dmsa_gate(logits, gate_act, 'naive')
    return scale_by_second_moment(s, pi, g)
