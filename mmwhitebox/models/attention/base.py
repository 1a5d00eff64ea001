"""What every attention module shares: heads, the token layout, and the errors about both."""
from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from mmwhitebox.models.sizes import check_sizes
from mmwhitebox.ops.dispatch import check_form
from mmwhitebox.registry import ATTENTIONS, build_component


class BaseAttention(nn.Module, ABC):
    """Base of all attention modules: owns the head layout, subclasses own parameters and call ops.

    Tokens are (B, N, D) with N = E + H*W: the E extra tokens (class tokens) first, then the H x W patch
    grid, row major.

    Args:
        embed_dims (int): Token width D.
        num_heads (int): Number of heads K, one subspace each.
        head_dims (int, optional): Dimensions p of a head. Defaults to ``embed_dims // num_heads``.
        impl (str): Form of the operator, 'auto', 'naive', 'torch' or 'triton', see :mod:`mmwhitebox.ops.dispatch`.
            Defaults to 'auto'.

    Raises:
        ValueError: If a size is no positive integer, ``embed_dims`` is not divisible by ``num_heads`` and
            ``head_dims`` is not given, or there is no such ``impl``.
        ImportError: If ``impl`` is 'triton' and triton cannot be imported.
    """

    updates_all_tokens = True
    """Whether ``forward(x, hw_shape)`` updates every token; not so for cross-attention."""
    has_kernels = False
    """Whether the operator has fused kernels for a GPU."""

    def __init__(self, embed_dims: int, num_heads: int, head_dims: int | None = None, impl: str = 'auto') -> None:
        super().__init__()
        check_sizes(self, embed_dims=embed_dims, num_heads=num_heads, head_dims=head_dims)
        if head_dims is None:
            if embed_dims % num_heads:
                raise ValueError(
                    f'{type(self).__name__}: embed_dims ({embed_dims}) is not divisible by num_heads '
                    f'({num_heads}). Change one of them, or give head_dims explicitly.')
            head_dims = embed_dims // num_heads
        self.embed_dims = embed_dims
        self.num_heads = num_heads
        self.head_dims = head_dims
        self.impl = check_form(type(self).__name__, impl)

    @property
    def inner_dims(self) -> int:
        """Width of all heads together, K*p."""
        return self.num_heads * self.head_dims

    def split_heads(self, x: Tensor) -> Tensor:
        """(B, N, K*p) -> (B, K, N, p)."""
        return x.unflatten(-1, (self.num_heads, self.head_dims)).transpose(1, 2)

    def merge_heads(self, x: Tensor) -> Tensor:
        """(B, K, N, p) -> (B, N, K*p)."""
        return x.transpose(1, 2).flatten(2)

    def project_out(self, heads: Tensor) -> Tensor:
        """Concatenate the heads and map them back: (B, K, N, p) -> (B, N, D)."""
        return self.to_out(self.merge_heads(heads))

    def check_tokens(self, x: Tensor, hw_shape: tuple[int, int]) -> None:
        """Raise a ValueError if the tokens cannot be E >= 0 extra tokens and an H x W grid."""
        if x.dim() != 3 or x.shape[-1] != self.embed_dims:
            raise ValueError(f'{type(self).__name__} takes tokens of shape (B, N, {self.embed_dims}), '
                             f'got {tuple(x.shape)}.')
        h, w = hw_shape
        if h < 1 or w < 1 or x.shape[1] < h * w:
            raise ValueError(
                f'{type(self).__name__}: {x.shape[1]} tokens do not hold a patch grid of hw_shape='
                f'({h}, {w}), which needs {h * w} patch tokens after the extra tokens.')


class SelfAttention(BaseAttention):
    """Tokens attend to each other; arguments as of :class:`BaseAttention`."""

    @abstractmethod
    def forward(self, x: Tensor, hw_shape: tuple[int, int]) -> Tensor:
        """Attention output, (B, N, D), without a residual.

        Args:
            x (Tensor): Tokens after the block's norm, (B, N, D), extra tokens first.
            hw_shape (tuple[int, int]): Patch grid (H, W).
        """

    @abstractmethod
    def pairwise_similarities(self, hw_shape: tuple[int, int], num_extra: int = 0) -> int:
        """Similarities one layer computes for one image (CBSA, NeurIPS 2025, table 4).

        Args:
            hw_shape (tuple[int, int]): Patch grid (H, W).
            num_extra (int): Number of extra tokens E. Defaults to 0.
        """


class CrossAttention(BaseAttention):
    """Queries attend to tokens; arguments as of :class:`BaseAttention`."""

    updates_all_tokens = False

    @abstractmethod
    def forward(self, queries: Tensor, x: Tensor) -> Tensor:
        """Update of the queries, (B, M, D), without a residual.

        Args:
            queries (Tensor): Query tokens, (B, M, D).
            x (Tensor): Tokens that are keys and values, (B, N, D).
        """

    @abstractmethod
    def pairwise_similarities(self, hw_shape: tuple[int, int], num_queries: int) -> int:
        """Similarities of ``num_queries`` queries with the H x W patch tokens of one image."""


class SubspaceProjection(BaseAttention):
    """Mix-in of the white-box attentions: one map W = X U in every role, and a map back.

    Args:
        embed_dims (int): Token width D.
        num_heads (int): Number of heads K.
        head_dims (int, optional): Dimensions p of a head. Defaults to ``embed_dims // num_heads``.
        qkv_bias (bool): Bias of the map U. Defaults to False.
        with_to_out (bool): Whether the heads are mapped back by a Linear, independent of U. Defaults to True.
        out_bias (bool): Bias of that map. Defaults to True.
        impl (str): Form of the operator, 'auto', 'naive', 'torch' or 'triton', see :mod:`mmwhitebox.ops.dispatch`.
            Defaults to 'auto'.
    """

    def __init__(self,
                 embed_dims: int,
                 num_heads: int,
                 head_dims: int | None = None,
                 qkv_bias: bool = False,
                 with_to_out: bool = True,
                 out_bias: bool = True,
                 impl: str = 'auto') -> None:
        super().__init__(embed_dims, num_heads, head_dims, impl)
        self.proj = nn.Linear(embed_dims, self.inner_dims, bias=qkv_bias)  # U
        if with_to_out:
            self.to_out = nn.Linear(self.inner_dims, embed_dims, bias=out_bias)

    def subspace_tokens(self, x: Tensor) -> Tensor:
        """W = X U, split into heads: (B, N, D) -> (B, K, N, p)."""
        return self.split_heads(self.proj(x))


class SubspaceAttention(SubspaceProjection, SelfAttention):
    """Base of the white-box self-attentions; arguments as of :class:`SubspaceProjection`."""


class VariantOfCBSA(SubspaceAttention):
    """Base of CBSA's variants in closed form (eq. 12, 13): their update times a step size, heads mapped back.

    **reading**: the step size is one learned scalar per head from N(0, 1), as CBSA's ``step_x``.

    Args:
        embed_dims (int): Token width D.
        num_heads (int): Number of heads K.
        head_dims (int, optional): Dimensions p of a head. Defaults to ``embed_dims // num_heads``.
        eps_squared (float): eps^2 of the coding rate. Defaults to 0.01.
        impl (str): Form of the operator, 'auto', 'naive', 'torch' or 'triton', see :mod:`mmwhitebox.ops.dispatch`.
            Defaults to 'auto'.
    """

    def __init__(self,
                 embed_dims: int,
                 num_heads: int,
                 head_dims: int | None = None,
                 eps_squared: float = 0.01,
                 impl: str = 'auto') -> None:
        super().__init__(embed_dims, num_heads, head_dims, impl=impl)
        self.eps_squared = eps_squared
        self.step_x = nn.Parameter(torch.randn(num_heads, 1, 1))


class QKVAttention(SelfAttention):
    """Base of the attentions with separate queries, keys and values.

    Args:
        embed_dims (int): Token width D.
        num_heads (int): Number of heads K.
        head_dims (int, optional): Dimensions p of a head. Defaults to ``embed_dims // num_heads``.
        qkv_bias (bool): Bias of the q, k, v projections. Defaults to True.
        impl (str): Form of the operator, 'auto', 'naive', 'torch' or 'triton', see :mod:`mmwhitebox.ops.dispatch`.
            Defaults to 'auto'.
    """

    def __init__(self,
                 embed_dims: int,
                 num_heads: int,
                 head_dims: int | None = None,
                 qkv_bias: bool = True,
                 impl: str = 'auto') -> None:
        super().__init__(embed_dims, num_heads, head_dims, impl)
        self.qkv = nn.Linear(embed_dims, 3 * self.inner_dims, bias=qkv_bias)
        self.to_out = nn.Linear(self.inner_dims, embed_dims)

    def queries_keys_values(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Q, K, V, each (B, K, N, p)."""
        q, k, v = self.qkv(x).chunk(3, dim=-1)
        return self.split_heads(q), self.split_heads(k), self.split_heads(v)


def build_attention(cfg: dict, **defaults) -> nn.Module:
    """Build an attention module from its config, see :func:`mmwhitebox.registry.build_component`."""
    return build_component(ATTENTIONS, cfg, **defaults)
