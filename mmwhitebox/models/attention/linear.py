"""Linear attention: the variant of CBSA on principal directions, and the one with ReLU features."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmwhitebox.ops import relu_linear_attention, spectral_attention
from mmwhitebox.registry import ATTENTIONS

from .base import QKVAttention, SubspaceAttention


@ATTENTIONS.register_module(name='Linear')
class LinearAttention(SubspaceAttention):
    """step_x W f(W^T W) (CBSA, NeurIPS 2025, eq. 12), see :mod:`mmwhitebox.ops.linear_attention`.

    **reading**: the step size is one learned scalar per head from N(0, 1), as CBSA's ``step_x``.

    Args:
        embed_dims (int): Token width D.
        num_heads (int): Number of heads K.
        head_dims (int, optional): Dimensions p of a head. Defaults to ``embed_dims // num_heads``.
        eps_squared (float): eps^2 of the coding rate. Defaults to 0.01.
    """

    def __init__(self,
                 embed_dims: int,
                 num_heads: int,
                 head_dims: int | None = None,
                 eps_squared: float = 0.01) -> None:
        super().__init__(embed_dims, num_heads, head_dims)
        self.eps_squared = eps_squared
        self.step_x = nn.Parameter(torch.randn(num_heads, 1, 1))

    def forward(self, x: Tensor, hw_shape: tuple[int, int]) -> Tensor:
        self.check_tokens(x, hw_shape)
        return self.project_out(self.step_x * spectral_attention(self.subspace_tokens(x), self.eps_squared))

    def attention_map(self, x: Tensor, hw_shape: tuple[int, int]) -> Tensor:
        """(I + p/(N eps^2) W W^T)^{-1}, (B, K, N, N): W f(W^T W) is this matrix times W."""
        self.check_tokens(x, hw_shape)
        w = self.subspace_tokens(x)
        n, p = w.shape[-2:]
        filtered = spectral_attention(w, self.eps_squared)  # I - c W (I + c W^T W)^{-1} W^T, Woodbury
        eye = torch.eye(n, dtype=w.dtype, device=w.device)
        return eye - p / (n * self.eps_squared) * filtered @ w.mT

    def pairwise_similarities(self, hw_shape: tuple[int, int], num_extra: int = 0) -> int:
        """p (p + 1) / 2 * K: the channels of a head with each other, whatever the number of tokens."""
        return self.head_dims * (self.head_dims + 1) // 2 * self.num_heads


@ATTENTIONS.register_module(name='ReLULinear')
class ReLULinearAttention(QKVAttention):
    """phi(Q) (phi(K)^T V), normalised, phi = relu, see :mod:`mmwhitebox.ops.relu_linear_attention`.

    Its parameters are those of :class:`MHSA`.

    Args:
        embed_dims (int): Token width D.
        num_heads (int): Number of heads K.
        head_dims (int, optional): Dimensions p of a head. Defaults to ``embed_dims // num_heads``.
        qkv_bias (bool): Bias of the q, k, v projections. Defaults to True.
    """

    def forward(self, x: Tensor, hw_shape: tuple[int, int]) -> Tensor:
        self.check_tokens(x, hw_shape)
        return self.project_out(relu_linear_attention(*self.queries_keys_values(x)))

    def attention_map(self, x: Tensor, hw_shape: tuple[int, int]) -> Tensor:
        """phi(Q) phi(K)^T with rows normalised to one, (B, K, N, N)."""
        self.check_tokens(x, hw_shape)
        q, k, _ = self.queries_keys_values(x)
        scores = F.relu(q) @ F.relu(k).mT
        return scores / (scores.sum(-1, keepdim=True) + 1e-6)

    def pairwise_similarities(self, hw_shape: tuple[int, int], num_extra: int = 0) -> int:
        """p^2 * K: the channels of the keys with those of the values, whatever the number of tokens."""
        return self.head_dims**2 * self.num_heads
