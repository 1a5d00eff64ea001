"""TSSA: attention by statistics of the tokens, linear in their number."""

import torch
from torch import Tensor, nn

from mmwhitebox.ops import tssa, tssa_membership
from mmwhitebox.registry import ATTENTIONS

from .base import SubspaceAttention


@ATTENTIONS.register_module()
class TSSA(SubspaceAttention):
    """Token Statistics Self-Attention (ToST), see :mod:`mmwhitebox.ops.tssa`.

    Args:
        embed_dims (int): Token width D.
        num_heads (int): Number of heads K.
        head_dims (int, optional): Dimensions p of a head. Defaults to ``embed_dims // num_heads``.
        qkv_bias (bool): Bias of the projection: True in ToST-T/S/M, False in the comparison of the CBSA
            paper. Defaults to False.
        impl (str): Form of the operator, 'auto', 'naive', 'torch' or 'triton', see :mod:`mmwhitebox.ops.dispatch`.
            Defaults to 'auto'.

    ``temp`` takes no weight decay, see ``WhiteBoxTransformer.no_weight_decay``.
    """

    has_kernels = True

    def __init__(self,
                 embed_dims: int,
                 num_heads: int,
                 head_dims: int | None = None,
                 qkv_bias: bool = False,
                 impl: str = 'auto') -> None:
        super().__init__(embed_dims, num_heads, head_dims, qkv_bias, impl=impl)
        self.temp = nn.Parameter(torch.ones(num_heads, 1))

    def forward(self, x: Tensor, hw_shape: tuple[int, int]) -> Tensor:
        self.check_tokens(x, hw_shape)
        return self.project_out(tssa(self.subspace_tokens(x), self.temp, self.impl))

    def membership(self, x: Tensor, hw_shape: tuple[int, int]) -> Tensor:
        """Pi, (B, K, N): the share of every token in every subspace, summing to one over the heads."""
        self.check_tokens(x, hw_shape)
        return tssa_membership(self.subspace_tokens(x), self.temp)

    def pairwise_similarities(self, hw_shape: tuple[int, int], num_extra: int = 0) -> int:
        return (hw_shape[0] * hw_shape[1] + num_extra) * self.inner_dims
