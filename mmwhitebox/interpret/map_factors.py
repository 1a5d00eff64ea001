r"""The N x N maps of an attention as the factors that they are made of, small enough to send and to keep.

    gram:     M = A^T A                       CBSA;                A (K, m, N)
    softmax:  M = softmax(s Q K^T)            MSSA, MSCA, MHSA, class attention, timm;    Q (K, M, p), K (K, N, p)
    product:  M = B A                         Agent, ReLU linear attention;    B (K, M, m), A (K, m, N)
    matrix:   M                               masks, position biases, the spectral variant

Row i of M is what token i gathers; a row costs one product of a factor with a vector.
"""
from typing import NamedTuple

from torch import Tensor, nn

from mmwhitebox.models.attention import (
    CBSA,
    MHSA,
    MSCA,
    MSSA,
    AgentAttention,
    BaseAttention,
    ClassAttention,
    ReLULinearAttention,
)

from .attention_map import ScaledDotProduct, has_attention_map, representative_footprints


class Factors(NamedTuple):
    """A map of M queries over N tokens, of one image and K heads, as its factors.

    Attributes:
        form (str): 'gram', 'softmax', 'product' or 'matrix', see the equations above.
        left (Tensor): A (K, m, N) of a gram, Q (K, M, p) of a softmax, B (K, M, m) of a product, the matrix itself.
        right (Tensor): As ``left`` of a gram and of a softmax whose queries are its keys, K (K, N, p), A (K, m, N).
        scale (float): s of a softmax; 1 of the others.
    """

    form: str
    left: Tensor
    right: Tensor
    scale: float = 1.

    def matrix(self) -> Tensor:
        """The map, (K, M, N)."""
        if self.form == 'gram':
            return self.left.mT @ self.left
        if self.form == 'softmax':
            return (self.scale * self.left @ self.right.mT).softmax(-1)
        return self.left @ self.right if self.form == 'product' else self.left


def map_factors(attention: nn.Module, args: tuple, call: ScaledDotProduct | None = None) -> Factors | None:
    """The factors of an attention's map for the first image that it was called with.

    Args:
        attention (nn.Module): An attention of this package or timm's.
        args (tuple): What an attention of this package was called with: (tokens, grid) or (queries, tokens).
        call (ScaledDotProduct, optional): What a timm module computed in that call, from
            :func:`.attention_map.scaled_dot_products`. Defaults to None: not one softmax.

    Returns:
        Factors | None: In float32; None of an attention without such a map (TSSA, DMSA, Channel), and of a module of
        timm whose attention is not one softmax.
    """
    if not isinstance(attention, BaseAttention):
        if call is None:
            return None
        found = Factors('softmax', call.query, call.key, call.scale) if call.mask is None else _whole(call.matrix())
    elif has_attention_map(attention):
        args = tuple(value[:1] if isinstance(value, Tensor) else value for value in args)
        found = _factors(attention, args) or _whole(attention.attention_map(*args))
    else:
        return None
    left = found.left[0].float()
    return Factors(found.form, left, left if found.right is found.left else found.right[0].float(), found.scale)


def _whole(matrix: Tensor) -> Factors:
    return Factors('matrix', matrix, matrix)


def _factors(attention: BaseAttention, args: tuple) -> Factors | None:
    if isinstance(attention, CBSA):
        a = representative_footprints(attention, args)
        return Factors('gram', a, a)
    if isinstance(attention, (AgentAttention, ReLULinearAttention)):
        return Factors('product', *attention.map_factors(*args))
    if isinstance(attention, (MSSA, MSCA)):
        q, *k = map(attention.subspace_tokens, args[:1] if isinstance(attention, MSSA) else args)
        return Factors('softmax', q, *(k or [q]), attention.head_dims**-0.5)
    if isinstance(attention, (MHSA, ClassAttention)):
        q, k, _ = attention.queries_keys_values(*(args[:1] if isinstance(attention, MHSA) else args))
        return Factors('softmax', q, k, attention.head_dims**-0.5)
    return None
