"""Class attention (CaiT, ICCV 2021): the class token gathers the patches at the end of ToST."""

from torch import Tensor, nn

from mmwhitebox.ops import softmax_attention
from mmwhitebox.registry import ATTENTIONS

from .base import SelfAttention


@ATTENTIONS.register_module()
class ClassAttention(SelfAttention):
    """softmax(s Q K^T) V with queries from the extra tokens only: linear in the number of tokens.

    Args:
        embed_dims (int): Token width D.
        num_heads (int): Number of heads K.
        head_dims (int, optional): Dimensions p of a head. Defaults to ``embed_dims // num_heads``.
        qkv_bias (bool): Bias of the q, k, v projections. Defaults to True.
        impl (str): Form of the operator, 'auto', 'naive', 'torch' or 'triton', see :mod:`mmwhitebox.ops.dispatch`.
            Defaults to 'auto'.
    """

    updates_all_tokens = False

    def __init__(self,
                 embed_dims: int,
                 num_heads: int,
                 head_dims: int | None = None,
                 qkv_bias: bool = True,
                 impl: str = 'auto') -> None:
        super().__init__(embed_dims, num_heads, head_dims, impl)
        self.q = nn.Linear(embed_dims, self.inner_dims, bias=qkv_bias)
        self.kv = nn.Linear(embed_dims, 2 * self.inner_dims, bias=qkv_bias)
        self.to_out = nn.Linear(self.inner_dims, embed_dims)

    def queries_keys_values(self, x: Tensor, hw_shape: tuple[int, int]) -> tuple[Tensor, Tensor, Tensor]:
        """Q of the extra tokens, (B, K, E, p), and K, V of all tokens, (B, K, N, p)."""
        self.check_tokens(x, hw_shape)
        k, v = self.kv(x).chunk(2, dim=-1)
        q = self.q(x[:, :x.shape[1] - hw_shape[0] * hw_shape[1]])
        return self.split_heads(q), self.split_heads(k), self.split_heads(v)

    def forward(self, x: Tensor, hw_shape: tuple[int, int]) -> Tensor:
        """Update of the extra tokens, (B, E, D), without a residual.

        Args:
            x (Tensor): Tokens after the block's norm, (B, N, D), extra tokens first.
            hw_shape (tuple[int, int]): Patch grid (H, W).
        """
        return self.project_out(softmax_attention(*self.queries_keys_values(x, hw_shape), impl=self.impl))

    def attention_map(self, x: Tensor, hw_shape: tuple[int, int]) -> Tensor:
        """softmax(s Q K^T), (B, K, E, N)."""
        q, k, _ = self.queries_keys_values(x, hw_shape)
        return (self.head_dims**-0.5 * q @ k.mT).softmax(-1)

    def pairwise_similarities(self, hw_shape: tuple[int, int], num_extra: int = 1) -> int:
        return (hw_shape[0] * hw_shape[1] + num_extra) * num_extra * self.num_heads
