"""Linear attention with ReLU features, for comparison."""

import torch.nn.functional as F
from torch import Tensor

from mmwhitebox.ops import relu_linear_attention
from mmwhitebox.registry import ATTENTIONS

from .base import QKVAttention


@ATTENTIONS.register_module(name='ReLULinear')
class ReLULinearAttention(QKVAttention):
    """phi(Q) (phi(K)^T V), normalised, phi = relu, see :mod:`mmwhitebox.ops.relu_linear`.

    Its parameters are those of :class:`MHSA`, its arguments as of :class:`.base.QKVAttention`.
    """

    def forward(self, x: Tensor, hw_shape: tuple[int, int]) -> Tensor:
        self.check_tokens(x, hw_shape)
        return self.project_out(relu_linear_attention(*self.queries_keys_values(x), impl=self.impl))

    def map_factors(self, x: Tensor, hw_shape: tuple[int, int]) -> tuple[Tensor, Tensor]:
        """phi(Q) over the sum of its row of phi(Q) phi(K)^T, (B, K, N, p), and phi(K)^T, (B, K, p, N)."""
        self.check_tokens(x, hw_shape)
        q, k, _ = self.queries_keys_values(x)
        q, k = F.relu(q), F.relu(k).mT
        return q / (q @ k.sum(-1, keepdim=True) + 1e-6), k

    def attention_map(self, x: Tensor, hw_shape: tuple[int, int]) -> Tensor:
        """phi(Q) phi(K)^T with rows normalised to one, (B, K, N, N)."""
        q, k = self.map_factors(x, hw_shape)
        return q @ k

    def pairwise_similarities(self, hw_shape: tuple[int, int], num_extra: int = 0) -> int:
        """p^2 * K: the channels of the keys with those of the values, whatever the number of tokens."""
        return self.head_dims**2 * self.num_heads
