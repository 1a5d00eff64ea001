"""CBSA: attention through a few representatives, linear in the number of tokens."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmwhitebox.models.sizes import check_choices, check_sizes
from mmwhitebox.models.unwatched import is_unwatched
from mmwhitebox.ops import cbsa, extract, pool_representatives
from mmwhitebox.ops.cbsa import CONTRACTIONS, mapped_cbsa
from mmwhitebox.registry import ATTENTIONS

from .base import SubspaceAttention

POOL_TOKENS = ('patch', 'official')
REPRESENTATIVES = ('pool', 'learned')


@ATTENTIONS.register_module()
class CBSA(SubspaceAttention):
    """Contract-and-Broadcast Self-Attention (NeurIPS 2025), see :mod:`mmwhitebox.ops.cbsa`.

    Args:
        embed_dims (int): Token width D.
        num_heads (int): Number of heads K.
        head_dims (int, optional): Dimensions p of a head. Defaults to ``embed_dims // num_heads``.
        pool_size (int): g, the side of the pool: m = g*g representatives. Defaults to 8 (encoders);
            the paper's decoder uses 10. A token grid smaller than the pool is allowed. There are as many learned
            representatives.
        contraction (str, optional): 'softmax' (eq. 8), 'inverse' (eq. 7) or None, which leaves Agent
            Attention with q = k = v. Defaults to 'softmax'.
        pool_tokens (str): 'patch' pools the patch tokens. 'official' reproduces the published
            classification code, whose pool takes the class token in and leaves the last patch out: for
            its checkpoints. Defaults to 'patch'.
        eps_squared (float): eps^2 of eq. 7. Defaults to 0.01.
        representatives (str): Where R0 comes from (CBSA, appendix A). 'pool' makes it of the image's tokens,
            'learned' is a parameter (1, K, m, p), the same for every image (**reading**: it starts from a normal
            distribution of standard deviation 0.02). Defaults to 'pool'.
        dwc (bool): Whether a 3 x 3 depth-wise convolution of W on the patch grid, with bias, is added to the heads'
            output before it is mapped back (appendix A); extra tokens get none. Defaults to False.
        impl (str): Form of the operator, 'auto', 'naive', 'torch' or 'triton', see :mod:`mmwhitebox.ops.dispatch`.
            Defaults to 'auto'.
    """

    has_kernels = True

    def __init__(self,
                 embed_dims: int,
                 num_heads: int,
                 head_dims: int | None = None,
                 pool_size: int = 8,
                 contraction: str | None = 'softmax',
                 pool_tokens: str = 'patch',
                 eps_squared: float = 0.01,
                 representatives: str = 'pool',
                 dwc: bool = False,
                 impl: str = 'auto') -> None:
        super().__init__(embed_dims, num_heads, head_dims, impl=impl)
        check_sizes(self, pool_size=pool_size)
        check_choices(self, contraction=(contraction, CONTRACTIONS), pool_tokens=(pool_tokens, POOL_TOKENS),
                      representatives=(representatives, REPRESENTATIVES))
        self.pool_size = pool_size
        self.contraction = contraction
        self.pool_tokens = pool_tokens
        self.eps_squared = eps_squared
        self.step_rep = nn.Parameter(torch.randn(num_heads, 1, 1))
        self.step_x = nn.Parameter(torch.randn(num_heads, 1, 1))
        self.representatives = None
        if representatives == 'learned':
            self.representatives = nn.Parameter(0.02 * torch.randn(1, num_heads, pool_size**2, self.head_dims))
        self.dwc = nn.Conv2d(self.inner_dims, self.inner_dims, 3, padding=1, groups=self.inner_dims) if dwc else None

    def tokens_and_representatives(self, x: Tensor, hw_shape: tuple[int, int]) -> tuple[Tensor, Tensor]:
        """W, (B, K, N, p), and the initial representatives R0, (B, K, m, p)."""
        self.check_tokens(x, hw_shape)
        w = self.proj(x)
        if self.representatives is None:
            r0 = pool_representatives(w, hw_shape, self.pool_size, self.num_heads, self.pool_tokens, self.impl)
        else:
            r0 = self.representatives.to(w.dtype).expand(w.shape[0], -1, -1, -1)
        return self.split_heads(w), r0

    def convolve(self, w: Tensor, hw_shape: tuple[int, int]) -> Tensor:
        """Depth-wise convolution of W on the patch grid, zero for the extra tokens: (B, K, N, p) -> (B, N, K*p)."""
        num_extra = w.shape[2] - hw_shape[0] * hw_shape[1]
        grid = self.merge_heads(w)[:, num_extra:].transpose(1, 2).unflatten(2, hw_shape)  # (B, K*p, H, W)
        return F.pad(self.dwc(grid).flatten(2).transpose(1, 2), (0, 0, num_extra, 0))

    def forward(self, x: Tensor, hw_shape: tuple[int, int]) -> Tensor:
        w, r0 = self.tokens_and_representatives(x, hw_shape)
        if self.dwc is None and is_unwatched(self.to_out, nn.Linear):
            return mapped_cbsa(w, r0, self.step_rep, self.step_x, self.to_out.weight, self.to_out.bias,
                               self.contraction, self.eps_squared, self.impl)
        heads = cbsa(w, r0, self.step_rep, self.step_x, self.contraction, self.eps_squared, self.impl)
        if self.dwc is None:
            return self.project_out(heads)
        return self.to_out(self.merge_heads(heads) + self.convolve(w, hw_shape))

    def attention_map(self, x: Tensor, hw_shape: tuple[int, int]) -> Tensor:
        """A^T A, (B, K, N, N): how much two tokens share their representatives. Rows do not sum to 1."""
        a, _ = extract(*self.tokens_and_representatives(x, hw_shape), self.step_rep)
        return a.transpose(-1, -2) @ a

    def pairwise_similarities(self, hw_shape: tuple[int, int], num_extra: int = 0) -> int:
        n, m = hw_shape[0] * hw_shape[1] + num_extra, self.pool_size**2
        return (m * n + m * (m + 1) // 2) * self.num_heads
