"""Channel attention: the variant of CBSA with fixed representatives, the core of TSSA."""

import torch
from torch import Tensor, nn

from mmwhitebox.ops import channel_attention
from mmwhitebox.registry import ATTENTIONS

from .base import SubspaceAttention


@ATTENTIONS.register_module(name='Channel')
class ChannelAttention(SubspaceAttention):
    """step_x W / (1 + c sum W^2) (CBSA, NeurIPS 2025, eq. 13), see :mod:`mmwhitebox.ops.channel_attention`.

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

    def forward(self, x: Tensor, hw_shape: tuple[int, int]) -> Tensor:
        self.check_tokens(x, hw_shape)
        return self.project_out(self.step_x * channel_attention(self.subspace_tokens(x), self.eps_squared, self.impl))

    def membership(self, x: Tensor, hw_shape: tuple[int, int]) -> Tensor:
        """Pi = 1, (B, K, N): every token belongs to every subspace; TSSA and DMSA learn this."""
        self.check_tokens(x, hw_shape)
        return x.new_ones(x.shape[0], self.num_heads, x.shape[1])

    def pairwise_similarities(self, hw_shape: tuple[int, int], num_extra: int = 0) -> int:
        """N * p * K as for TSSA, which has the same second moment."""
        return (hw_shape[0] * hw_shape[1] + num_extra) * self.inner_dims
