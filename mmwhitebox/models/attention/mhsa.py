"""MHSA: the ordinary multi-head self-attention (Vaswani et al., NeurIPS 2017), for comparison."""

import torch.nn.functional as F
from torch import Tensor

from mmwhitebox.registry import ATTENTIONS

from .base import QKVAttention


@ATTENTIONS.register_module()
class MHSA(QKVAttention):
    """softmax(s Q K^T) V with three independent projections, by torch's scaled_dot_product_attention.

    Args:
        embed_dims (int): Token width D.
        num_heads (int): Number of heads K.
        head_dims (int, optional): Dimensions p of a head. Defaults to ``embed_dims // num_heads``.
        qkv_bias (bool): Bias of the q, k, v projections. Defaults to True.
    """

    def forward(self, x: Tensor, hw_shape: tuple[int, int]) -> Tensor:
        self.check_tokens(x, hw_shape)
        return self.project_out(F.scaled_dot_product_attention(*self.queries_keys_values(x)))

    def attention_map(self, x: Tensor, hw_shape: tuple[int, int]) -> Tensor:
        """softmax(s Q K^T), (B, K, N, N)."""
        self.check_tokens(x, hw_shape)
        q, k, _ = self.queries_keys_values(x)
        return (self.head_dims**-0.5 * q @ k.transpose(-1, -2)).softmax(-1)

    def pairwise_similarities(self, hw_shape: tuple[int, int], num_extra: int = 0) -> int:
        return (hw_shape[0] * hw_shape[1] + num_extra)**2 * self.num_heads
