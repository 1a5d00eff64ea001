"""MSSA and MSCA: softmax attention whose query, key and value are one subspace projection."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrize import register_parametrization

from mmwhitebox.models.sizes import check_choices
from mmwhitebox.ops import msca, mssa
from mmwhitebox.registry import ATTENTIONS

from .base import CrossAttention, SelfAttention, SubspaceProjection

OUT_PROJS = ('independent', 'shared', None)
ORTHOGONAL = (None, 'head', 'all')


class OrthonormalRows(nn.Module):
    """Rows of a matrix made orthonormal, group by group: A = L Q with L lower triangular of positive diagonal -> Q.

    Args:
        groups (int): Groups of rows; those of different groups may point anywhere.
    """

    def __init__(self, groups: int) -> None:
        super().__init__()
        self.groups = groups

    def forward(self, weight: Tensor) -> Tensor:
        q, r = torch.linalg.qr(weight.unflatten(0, (self.groups, -1)).mT)  # (G, D, rows), (G, rows, rows)
        return (q * r.diagonal(dim1=-2, dim2=-1).sign()[:, None]).mT.flatten(0, 1)


class SoftmaxProjection(SubspaceProjection):
    """What MSSA and MSCA share: the projection and the map back.

    Args:
        embed_dims (int): Token width D.
        num_heads (int): Number of heads K.
        head_dims (int, optional): Dimensions p of a head. Defaults to ``embed_dims // num_heads``.
        out_proj (str, optional): The map back to D: 'independent', 'shared', or None for no map at all
            (CRATE with a single head of D dimensions). Defaults to 'independent'.
        orthogonal (str, optional): The bases U_k are kept orthonormal: each by itself ('head'), or all of them
            together ('all', which needs K p <= D). Defaults to None, free bases.
        out_bias (bool): Bias of an independent map back (CRATE-alpha has none). Defaults to True.
        impl (str): Form of the operator, 'auto', 'naive', 'torch' or 'triton', see :mod:`mmwhitebox.ops.dispatch`.
            Defaults to 'auto'.
    """

    def __init__(self,
                 embed_dims: int,
                 num_heads: int,
                 head_dims: int | None = None,
                 out_proj: str | None = 'independent',
                 orthogonal: str | None = None,
                 out_bias: bool = True,
                 impl: str = 'auto') -> None:
        super().__init__(embed_dims, num_heads, head_dims, with_to_out=out_proj == 'independent', out_bias=out_bias,
                         impl=impl)
        check_choices(self, out_proj=(out_proj, OUT_PROJS), orthogonal=(orthogonal, ORTHOGONAL))
        if out_proj is None and self.inner_dims != embed_dims:
            raise ValueError(f'{type(self).__name__}: out_proj=None needs num_heads * head_dims '
                             f'({self.inner_dims}) to equal embed_dims ({embed_dims}).')
        self.out_proj = out_proj
        if out_proj == 'shared':
            nn.init.normal_(self.proj.weight, std=embed_dims**-0.5)
            self.step_size = nn.Parameter(torch.randn(1))  # gamma
        if orthogonal:
            groups = num_heads if orthogonal == 'head' else 1
            if self.inner_dims // groups > embed_dims:
                raise ValueError(f'{type(self).__name__}: orthogonal={orthogonal!r} asks for '
                                 f'{self.inner_dims // groups} orthonormal vectors of {embed_dims} dimensions.')
            register_parametrization(self.proj, 'weight', OrthonormalRows(groups))

    def project_out(self, heads: Tensor) -> Tensor:
        if self.out_proj == 'independent':
            return super().project_out(heads)
        x = self.merge_heads(heads)
        return x if self.out_proj is None else self.step_size * F.linear(x, self.proj.weight.t())


@ATTENTIONS.register_module()
class MSSA(SoftmaxProjection, SelfAttention):
    r"""Multi-head Subspace Self-Attention, see :mod:`mmwhitebox.ops.mssa`; arguments as of :class:`SoftmaxProjection`.

    ``independent`` (CRATE, CBSA eq. 9):  concat_k(softmax(s W W^T) W) V + b, V a map of its own.
    ``shared`` (DEPICT):                  gamma concat_k(softmax(s W W^T) W) U^T, the projection again.
    """

    def forward(self, x: Tensor, hw_shape: tuple[int, int]) -> Tensor:
        self.check_tokens(x, hw_shape)
        return self.project_out(mssa(self.subspace_tokens(x), self.impl))

    def attention_map(self, x: Tensor, hw_shape: tuple[int, int]) -> Tensor:
        """softmax(s W W^T), (B, K, N, N)."""
        self.check_tokens(x, hw_shape)
        w = self.subspace_tokens(x)
        return (self.head_dims**-0.5 * w @ w.transpose(-1, -2)).softmax(-1)

    def pairwise_similarities(self, hw_shape: tuple[int, int], num_extra: int = 0) -> int:
        return (hw_shape[0] * hw_shape[1] + num_extra)**2 * self.num_heads


@ATTENTIONS.register_module()
class MSCA(SoftmaxProjection, CrossAttention):
    """Multi-head Subspace Cross-Attention of DEPICT: gamma concat_k(softmax(s Q W^T) W) U^T.

    Arguments as of :class:`SoftmaxProjection`, but ``out_proj`` defaults to 'shared'.
    """

    def __init__(self,
                 embed_dims: int,
                 num_heads: int,
                 head_dims: int | None = None,
                 out_proj: str | None = 'shared',
                 orthogonal: str | None = None,
                 out_bias: bool = True,
                 impl: str = 'auto') -> None:
        super().__init__(embed_dims, num_heads, head_dims, out_proj, orthogonal, out_bias, impl)

    def forward(self, queries: Tensor, x: Tensor) -> Tensor:
        return self.project_out(msca(self.subspace_tokens(queries), self.subspace_tokens(x), self.impl))

    def attention_map(self, queries: Tensor, x: Tensor) -> Tensor:
        """softmax(s Q W^T), (B, K, M, N)."""
        q, w = self.subspace_tokens(queries), self.subspace_tokens(x)
        return (self.head_dims**-0.5 * q @ w.transpose(-1, -2)).softmax(-1)

    def pairwise_similarities(self, hw_shape: tuple[int, int], num_queries: int) -> int:
        """M * N * K similarities of M queries with the patch tokens."""
        return hw_shape[0] * hw_shape[1] * num_queries * self.num_heads
