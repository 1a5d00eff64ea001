"""Spectral attention: the variant of CBSA on principal directions."""
from functools import wraps

import torch
from torch import Tensor, nn

from mmwhitebox.models.renamed import warn_renamed
from mmwhitebox.ops import spectral_attention
from mmwhitebox.registry import ATTENTIONS

from .base import SubspaceAttention


@ATTENTIONS.register_module(name='Spectral')
class SpectralAttention(SubspaceAttention):
    """step_x W f(W^T W) (CBSA, NeurIPS 2025, eq. 12), see :mod:`mmwhitebox.ops.spectral`.

    **reading**: the step size is one learned scalar per head from N(0, 1), as CBSA's ``step_x``.

    Args:
        embed_dims (int): Token width D.
        num_heads (int): Number of heads K.
        head_dims (int, optional): Dimensions p of a head. Defaults to ``embed_dims // num_heads``.
        eps_squared (float): eps^2 of the coding rate. Defaults to 0.01.
        impl (str): Form of the operator, 'auto', 'naive', 'torch' or 'triton', see :mod:`mmwhitebox.ops.dispatch`.
            Defaults to 'auto'.
    """

    def __init__(self,
                 embed_dims: int,
                 num_heads: int,
                 head_dims: int | None = None,
                 eps_squared: float = 0.01,
                 impl: str = 'auto') -> None:
        super().__init__(embed_dims, num_heads, head_dims, impl=impl)
        self.eps_squared = eps_squared
        self.step_x = nn.Parameter(torch.randn(num_heads, 1, 1))

    def forward(self, x: Tensor, hw_shape: tuple[int, int]) -> Tensor:
        self.check_tokens(x, hw_shape)
        return self.project_out(self.step_x * spectral_attention(self.subspace_tokens(x), self.eps_squared, self.impl))

    def attention_map(self, x: Tensor, hw_shape: tuple[int, int]) -> Tensor:
        """(I + p/(N eps^2) W W^T)^{-1}, (B, K, N, N): W f(W^T W) is this matrix times W."""
        self.check_tokens(x, hw_shape)
        w = self.subspace_tokens(x)
        n, p = w.shape[-2:]
        filtered = spectral_attention(w, self.eps_squared, self.impl)  # I - c W (I + c W^T W)^{-1} W^T, Woodbury
        eye = torch.eye(n, dtype=w.dtype, device=w.device)
        return eye - p / (n * self.eps_squared) * filtered @ w.mT

    def pairwise_similarities(self, hw_shape: tuple[int, int], num_extra: int = 0) -> int:
        """p (p + 1) / 2 * K: the channels of a head with each other, whatever the number of tokens."""
        return self.head_dims * (self.head_dims + 1) // 2 * self.num_heads


@ATTENTIONS.register_module(name='Linear')
class LinearAttention(SpectralAttention):
    """The former name of :class:`SpectralAttention`."""

    @wraps(SpectralAttention.__init__)
    def __init__(self, *args, **kwargs) -> None:
        warn_renamed("attention type='Linear'", "type='Spectral'")
        super().__init__(*args, **kwargs)
