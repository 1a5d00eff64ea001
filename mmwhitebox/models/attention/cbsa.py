"""CBSA: attention through a few representatives, linear in the number of tokens."""

import torch
from torch import Tensor, nn

from mmwhitebox.models.sizes import check_sizes
from mmwhitebox.ops import cbsa, extract, pool_representatives
from mmwhitebox.ops.cbsa import CONTRACTIONS
from mmwhitebox.registry import ATTENTIONS

from .base import SubspaceAttention

POOL_TOKENS = ('patch', 'official')


@ATTENTIONS.register_module()
class CBSA(SubspaceAttention):
    """Contract-and-Broadcast Self-Attention (NeurIPS 2025), see :mod:`mmwhitebox.ops.cbsa`.

    Args:
        embed_dims (int): Token width D.
        num_heads (int): Number of heads K.
        head_dims (int, optional): Dimensions p of a head. Defaults to ``embed_dims // num_heads``.
        pool_size (int): g, the side of the pool: m = g*g representatives. Defaults to 8 (encoders);
            the paper's decoder uses 10. A token grid smaller than the pool is allowed.
        contraction (str, optional): 'softmax' (eq. 8), 'inverse' (eq. 7) or None, which leaves Agent
            Attention with q = k = v. Defaults to 'softmax'.
        pool_tokens (str): 'patch' pools the patch tokens. 'official' reproduces the published
            classification code, whose pool takes the class token in and leaves the last patch out: for
            its checkpoints. Defaults to 'patch'.
        eps_squared (float): eps^2 of eq. 7. Defaults to 0.01.
        impl (str): Form of the operator, 'auto', 'naive', 'torch' or 'triton', see :mod:`mmwhitebox.ops.dispatch`.
            Defaults to 'auto'.
    """

    has_kernels = True

    def __init__(self,
                 embed_dims: int,
                 num_heads: int,
                 head_dims: int | None = None,
                 pool_size: int = 8,
                 contraction: str | None = 'softmax',
                 pool_tokens: str = 'patch',
                 eps_squared: float = 0.01,
                 impl: str = 'auto') -> None:
        super().__init__(embed_dims, num_heads, head_dims, impl=impl)
        check_sizes(self, pool_size=pool_size)
        if contraction not in CONTRACTIONS:
            raise ValueError(f'CBSA: contraction must be one of {CONTRACTIONS}, got {contraction!r}.')
        if pool_tokens not in POOL_TOKENS:
            raise ValueError(f'CBSA: pool_tokens must be one of {POOL_TOKENS}, got {pool_tokens!r}.')
        self.pool_size = pool_size
        self.contraction = contraction
        self.pool_tokens = pool_tokens
        self.eps_squared = eps_squared
        self.step_rep = nn.Parameter(torch.randn(num_heads, 1, 1))
        self.step_x = nn.Parameter(torch.randn(num_heads, 1, 1))

    def tokens_and_representatives(self, x: Tensor, hw_shape: tuple[int, int]) -> tuple[Tensor, Tensor]:
        """W, (B, K, N, p), and the initial representatives R0, (B, K, m, p)."""
        self.check_tokens(x, hw_shape)
        w = self.proj(x)
        r0 = pool_representatives(w, hw_shape, self.pool_size, self.num_heads, self.pool_tokens, self.impl)
        return self.split_heads(w), r0

    def forward(self, x: Tensor, hw_shape: tuple[int, int]) -> Tensor:
        w, r0 = self.tokens_and_representatives(x, hw_shape)
        return self.project_out(
            cbsa(w, r0, self.step_rep, self.step_x, self.contraction, self.eps_squared, self.impl))

    def attention_map(self, x: Tensor, hw_shape: tuple[int, int]) -> Tensor:
        """A^T A, (B, K, N, N): how much two tokens share their representatives. Rows do not sum to 1."""
        a, _ = extract(*self.tokens_and_representatives(x, hw_shape), self.step_rep)
        return a.transpose(-1, -2) @ a

    def pairwise_similarities(self, hw_shape: tuple[int, int], num_extra: int = 0) -> int:
        n, m = hw_shape[0] * hw_shape[1] + num_extra, self.pool_size**2
        return (m * n + m * (m + 1) // 2) * self.num_heads
