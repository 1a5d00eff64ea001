r"""Softmax attention (Vaswani et al., NeurIPS 2017).

    out = softmax(s Q K^T) V,          s = p^{-1/2}
"""
import torch.nn.functional as F
from torch import Tensor

from .dispatch import is_written_out, no_kernels
from .precision import no_autocast, widen


def softmax_attention(q: Tensor, k: Tensor, v: Tensor, impl: str = 'auto') -> Tensor:
    """Attention of M queries to N tokens; torch's fused attention unless the form is naive and without it.

    Args:
        q (Tensor): Queries, (B, K, M, p).
        k (Tensor): Keys, (B, K, N, p).
        v (Tensor): Values, (B, K, N, p).
        impl (str): The form, see :mod:`mmwhitebox.ops.dispatch`. Defaults to 'auto'.

    Returns:
        Tensor: softmax(s Q K^T) V, (B, K, M, p).
    """
    if is_written_out(impl):
        with no_autocast(q):
            return ((q.shape[-1]**-0.5 * widen(q) @ widen(k).mT).softmax(-1) @ widen(v)).to(v.dtype)
    no_kernels('softmax_attention', impl)
    return F.scaled_dot_product_attention(q, k, v)
