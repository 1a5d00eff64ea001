"""Agent Attention: softmax attention through a few pooled tokens."""

from torch import Tensor, nn

from mmwhitebox.models.sizes import check_choices, check_sizes
from mmwhitebox.ops import agent_attention, pool_representatives
from mmwhitebox.registry import ATTENTIONS

from .base import SelfAttention
from .cbsa import POOL_TOKENS


@ATTENTIONS.register_module(name='Agent')
class AgentAttention(SelfAttention):
    """Agent Attention (ECCV 2024), see :mod:`mmwhitebox.ops.agent`.

    **reading**: without the biases and the depth-wise convolution of the original, as the CBSA paper
    treats it, a variant of CBSA with the contraction removed.

    Args:
        embed_dims (int): Token width D.
        num_heads (int): Number of heads K.
        head_dims (int, optional): Dimensions p of a head. Defaults to ``embed_dims // num_heads``.
        pool_size (int): Side of the pool that makes the agents from the queries. Defaults to 8.
        pool_tokens (str): As in :class:`CBSA`. Defaults to 'patch'.
        shared_qkv (bool): True takes one map as query, key and value, as all white-box attentions do.
            False takes three: with ``qkv_bias=True`` the parameters are those of a ViT, so a pretrained
            one can be adapted (CBSA, NeurIPS 2025, figure 9). Defaults to True.
        qkv_bias (bool): Bias of the projections. Defaults to False.
        contraction (bool): What the agents have read attends to itself, as CBSA's eq. 8, before the tokens read it.
            Defaults to False.
        impl (str): Form of the operator, 'auto', 'naive', 'torch' or 'triton', see :mod:`mmwhitebox.ops.dispatch`.
            Defaults to 'auto'.
    """

    def __init__(self,
                 embed_dims: int,
                 num_heads: int,
                 head_dims: int | None = None,
                 pool_size: int = 8,
                 pool_tokens: str = 'patch',
                 shared_qkv: bool = True,
                 qkv_bias: bool = False,
                 contraction: bool = False,
                 impl: str = 'auto') -> None:
        super().__init__(embed_dims, num_heads, head_dims, impl)
        check_sizes(self, pool_size=pool_size)
        check_choices(self, pool_tokens=(pool_tokens, POOL_TOKENS))
        self.pool_size = pool_size
        self.pool_tokens = pool_tokens
        self.shared_qkv = shared_qkv
        self.contraction = contraction
        self.qkv = nn.Linear(embed_dims, self.inner_dims * (1 if shared_qkv else 3), bias=qkv_bias)
        self.to_out = nn.Linear(self.inner_dims, embed_dims)

    def queries_keys_values_agents(self, x: Tensor, hw_shape: tuple[int, int]) -> tuple[Tensor, ...]:
        """Q, K, V, (B, K, N, p) each, and the agents R0, (B, K, m, p)."""
        self.check_tokens(x, hw_shape)
        parts = self.qkv(x).split(self.inner_dims, dim=-1)
        r0 = pool_representatives(
            parts[0], hw_shape, self.pool_size, self.num_heads, self.pool_tokens, self.impl)
        heads = [self.split_heads(part) for part in parts]
        return (*(heads * 3 if self.shared_qkv else heads), r0)

    def forward(self, x: Tensor, hw_shape: tuple[int, int]) -> Tensor:
        return self.project_out(agent_attention(
            *self.queries_keys_values_agents(x, hw_shape), impl=self.impl, contraction=self.contraction))

    def map_factors(self, x: Tensor, hw_shape: tuple[int, int]) -> tuple[Tensor, Tensor]:
        """softmax(s Q R0^T), (B, K, N, m), and softmax(s R0 K^T), the contraction before it if there is one,
        (B, K, m, N); rows sum to one."""
        q, k, v, r0 = self.queries_keys_values_agents(x, hw_shape)
        s = self.head_dims**-0.5
        extraction = (s * r0 @ k.mT).softmax(-1)
        if self.contraction:
            read = extraction @ v
            extraction = (s * read @ read.mT).softmax(-1) @ extraction
        return (s * q @ r0.mT).softmax(-1), extraction

    def attention_map(self, x: Tensor, hw_shape: tuple[int, int]) -> Tensor:
        """The product of :meth:`map_factors`, (B, K, N, N), rows summing to one."""
        broadcast, extraction = self.map_factors(x, hw_shape)
        return broadcast @ extraction

    def pairwise_similarities(self, hw_shape: tuple[int, int], num_extra: int = 0) -> int:
        """m * N * K, once if R0 W^T serves both softmaxes and twice otherwise; m (m + 1) / 2 * K of a contraction."""
        n, m = hw_shape[0] * hw_shape[1] + num_extra, self.pool_size**2
        contracted = m * (m + 1) // 2 if self.contraction else 0
        return ((1 if self.shared_qkv else 2) * m * n + contracted) * self.num_heads
