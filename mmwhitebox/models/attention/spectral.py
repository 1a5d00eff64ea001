"""Spectral attention: the variant of CBSA on principal directions."""
from functools import wraps

import torch
from torch import Tensor

from mmwhitebox.former_names import warn_former
from mmwhitebox.ops import spectral_attention
from mmwhitebox.registry import ATTENTIONS

from .base import VariantOfCBSA


@ATTENTIONS.register_module(name='Spectral')
class SpectralAttention(VariantOfCBSA):
    """step_x W f(W^T W) (CBSA, NeurIPS 2025, eq. 12), see :mod:`mmwhitebox.ops.spectral`.

    Arguments as of :class:`.base.VariantOfCBSA`.
    """

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
        warn_former("attention type='Linear' is type='Spectral' now.")
        super().__init__(*args, **kwargs)
