"""MSSA and MSCA: softmax attention whose query, key and value are one subspace projection."""
from typing import Optional, Tuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmwhitebox.ops import msca, mssa
from mmwhitebox.registry import ATTENTIONS

from .base import SubspaceAttention

OUT_PROJS = ('independent', 'shared', None)


@ATTENTIONS.register_module()
class MSSA(SubspaceAttention):
    r"""Multi-head Subspace Self-Attention, see :mod:`mmwhitebox.ops.mssa`.

    ``independent`` (CRATE, CBSA eq. 9):  concat_k(softmax(s W W^T) W) V + b, V a map of its own.
    ``shared`` (DEPICT):                  gamma concat_k(softmax(s W W^T) W) U^T, the projection again.

    Args:
        embed_dims (int): Token width D.
        num_heads (int): Number of heads K.
        head_dims (int, optional): Dimensions p of a head. Defaults to ``embed_dims // num_heads``.
        out_proj (str, optional): The map back to D: 'independent', 'shared', or None for no map at all
            (CRATE with a single head of D dimensions). Defaults to 'independent'.
    """

    def __init__(self,
                 embed_dims: int,
                 num_heads: int,
                 head_dims: Optional[int] = None,
                 out_proj: Optional[str] = 'independent') -> None:
        super().__init__(embed_dims, num_heads, head_dims, with_to_out=out_proj == 'independent')
        if out_proj not in OUT_PROJS:
            raise ValueError(f'{type(self).__name__}: out_proj must be one of {OUT_PROJS}, '
                             f'got {out_proj!r}.')
        if out_proj is None and self.inner_dims != embed_dims:
            raise ValueError(f'{type(self).__name__}: out_proj=None needs num_heads * head_dims '
                             f'({self.inner_dims}) to equal embed_dims ({embed_dims}).')
        self.out_proj = out_proj
        if out_proj == 'shared':
            nn.init.normal_(self.proj.weight, std=embed_dims**-0.5)
            self.step_size = nn.Parameter(torch.randn(1))  # gamma

    def project_out(self, heads: Tensor) -> Tensor:
        if self.out_proj == 'independent':
            return super().project_out(heads)
        x = self.merge_heads(heads)
        return x if self.out_proj is None else self.step_size * F.linear(x, self.proj.weight.t())

    def forward(self, x: Tensor, hw_shape: Tuple[int, int]) -> Tensor:
        self.check_tokens(x, hw_shape)
        return self.project_out(mssa(self.subspace_tokens(x)))

    def attention_map(self, x: Tensor, hw_shape: Tuple[int, int]) -> Tensor:
        """softmax(s W W^T), (B, K, N, N)."""
        self.check_tokens(x, hw_shape)
        w = self.subspace_tokens(x)
        return (self.head_dims**-0.5 * w @ w.transpose(-1, -2)).softmax(-1)

    def pairwise_similarities(self, hw_shape: Tuple[int, int], num_extra: int = 0) -> int:
        return (hw_shape[0] * hw_shape[1] + num_extra)**2 * self.num_heads


@ATTENTIONS.register_module()
class MSCA(MSSA):
    """Multi-head Subspace Cross-Attention of DEPICT: gamma concat_k(softmax(s Q W^T) W) U^T.

    Args:
        embed_dims (int): Token width D.
        num_heads (int): Number of heads K.
        head_dims (int, optional): Dimensions p of a head. Defaults to ``embed_dims // num_heads``.
        out_proj (str): As in :class:`MSSA`. Defaults to 'shared'.
    """

    updates_all_tokens = False

    def __init__(self,
                 embed_dims: int,
                 num_heads: int,
                 head_dims: Optional[int] = None,
                 out_proj: Optional[str] = 'shared') -> None:
        super().__init__(embed_dims, num_heads, head_dims, out_proj)

    def forward(self, queries: Tensor, x: Tensor) -> Tensor:
        """Update of the queries, (B, M, D), without a residual.

        Args:
            queries (Tensor): Query tokens, (B, M, D).
            x (Tensor): Tokens that are keys and values, (B, N, D).
        """
        return self.project_out(msca(self.subspace_tokens(queries), self.subspace_tokens(x)))

    def attention_map(self, queries: Tensor, x: Tensor) -> Tensor:
        """softmax(s Q W^T), (B, K, M, N)."""
        q, w = self.subspace_tokens(queries), self.subspace_tokens(x)
        return (self.head_dims**-0.5 * q @ w.transpose(-1, -2)).softmax(-1)

    def pairwise_similarities(self, hw_shape: Tuple[int, int], num_queries: int) -> int:
        """M * N * K similarities of M queries with the patch tokens."""
        return hw_shape[0] * hw_shape[1] * num_queries * self.num_heads
