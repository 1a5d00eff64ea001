r"""Membership of the tokens in the subspaces, on the image (ToST; DMSA, arXiv 2601.17042, figure 6).

    Pi_kn = share of token n in subspace k               soft clustering of the tokens by the heads
    a_n   = argmax_k Pi_kn                               hard assignment
    G_kn  = ST_k(L_kn)                                   DMSA: how far token n selects subspace k, mostly zero

Extra tokens (class tokens) are left out: the maps are those of the patches.
"""
import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .patch_maps import patch_maps


def has_membership(attention: nn.Module) -> bool:
    """Whether an attention assigns its tokens to subspaces (TSSA, DMSA)."""
    return hasattr(attention, 'membership')


def membership_maps(attention: nn.Module, args: tuple) -> Tensor:
    """Membership Pi of the patches.

    Args:
        attention (nn.Module): TSSA, DMSA, or any attention with ``membership(x, hw_shape)``.
        args (tuple): What the attention was called with: tokens (B, E + H*W, D) and their grid (H, W).

    Returns:
        Tensor: Pi, (B, K, H, W); for TSSA and DMSA summing to one over the heads K.

    Raises:
        TypeError: The attention has no membership.
    """
    if not has_membership(attention):
        raise TypeError(f'{type(attention).__name__} has no membership; TSSA and DMSA have one.')
    return patch_maps(attention.membership(*args), args[1])


def gate_maps(attention: nn.Module, args: tuple) -> Tensor:
    """Selection gate G of the patches: like :func:`membership_maps`, for attentions with ``gate(x, hw_shape)``.

    Returns:
        Tensor: G, (B, K, H, W); with soft thresholding summing to one over the heads, most of it exactly zero.

    Raises:
        TypeError: The attention has no gate, or its gate is switched off (G = 1).
    """
    if not has_gate(attention):
        raise TypeError(f'This {type(attention).__name__} has no selection gate; DMSA has one.')
    return patch_maps(attention.gate(*args), args[1])


def has_gate(attention: nn.Module) -> bool:
    """Whether an attention selects subspaces by a gate (DMSA, unless its gate is off)."""
    return getattr(attention, 'gate_act', None) is not None and hasattr(attention, 'gate')


def hard_assignment(maps: Tensor) -> Tensor:
    """Index of the subspace that holds most of each patch: (B, K, H, W) -> (B, H, W) int64, ties to the first."""
    return maps.argmax(1)


def membership_statistics(maps: Tensor) -> dict[str, Tensor]:
    """What the maps of a batch amount to, per image and head.

    Args:
        maps (Tensor): Pi, (B, K, H, W), not negative.

    Returns:
        dict[str, Tensor]: ``mean``, (B, K): the mean of Pi over the patches. ``assigned``, (B, K): the share
        of patches assigned to the head. ``entropy``, (B,): the mean entropy of a patch's membership over
        log K, 0 for a hard and 1 for a uniform membership (of the shares, where Pi does not sum to one; a
        patch in no subspace counts as 0).
    """
    maps = maps.double()
    num_heads = maps.shape[1]
    assigned = F.one_hot(hard_assignment(maps), num_heads).double().mean((1, 2))
    shares = maps / maps.sum(1, keepdim=True).clamp_min(torch.finfo(maps.dtype).tiny)
    entropy = torch.special.entr(shares).sum(1).mean((1, 2))
    if num_heads > 1:
        entropy = entropy / math.log(num_heads)
    return dict(mean=maps.mean((2, 3)), assigned=assigned, entropy=entropy)
