"""MHSA: the ordinary multi-head self-attention (Vaswani et al., NeurIPS 2017), for comparison."""

from torch import Tensor

from mmwhitebox.ops import softmax_attention
from mmwhitebox.registry import ATTENTIONS

from .base import QKVAttention


@ATTENTIONS.register_module()
class MHSA(QKVAttention):
    """softmax(s Q K^T) V with three independent projections, see :mod:`mmwhitebox.ops.softmax_attention`.

    Arguments as of :class:`.base.QKVAttention`.
    """

    def forward(self, x: Tensor, hw_shape: tuple[int, int]) -> Tensor:
        self.check_tokens(x, hw_shape)
        return self.project_out(softmax_attention(*self.queries_keys_values(x), impl=self.impl))

    def attention_map(self, x: Tensor, hw_shape: tuple[int, int]) -> Tensor:
        """softmax(s Q K^T), (B, K, N, N)."""
        self.check_tokens(x, hw_shape)
        q, k, _ = self.queries_keys_values(x)
        return (self.head_dims**-0.5 * q @ k.transpose(-1, -2)).softmax(-1)

    def pairwise_similarities(self, hw_shape: tuple[int, int], num_extra: int = 0) -> int:
        return (hw_shape[0] * hw_shape[1] + num_extra)**2 * self.num_heads
