"""Channel attention: the variant of CBSA with fixed representatives, the core of TSSA."""
from torch import Tensor

from mmwhitebox.ops import channel_attention
from mmwhitebox.registry import ATTENTIONS

from .base import VariantOfCBSA


@ATTENTIONS.register_module(name='Channel')
class ChannelAttention(VariantOfCBSA):
    """step_x W / (1 + c sum W^2) (CBSA, NeurIPS 2025, eq. 13), see :mod:`mmwhitebox.ops.channel_attention`.

    Arguments as of :class:`.base.VariantOfCBSA`.
    """

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
