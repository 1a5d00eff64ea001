r"""Linear attention with ReLU features (Katharopoulos et al., ICML 2020).

    out = phi(Q) (phi(K)^T V) / (phi(Q) phi(K)^T 1),          phi = relu

Multiplying phi(K)^T V first makes the cost linear in the number of tokens.
"""
import torch.nn.functional as F
from torch import Tensor

from .dispatch import no_kernels
from .precision import no_autocast, widen


def relu_linear_attention(q: Tensor, k: Tensor, v: Tensor, eps: float = 1e-6, impl: str = 'auto') -> Tensor:
    """Linear attention. A query without a positive feature gives zero.

    Args:
        q (Tensor): Queries, (B, K, N, p).
        k (Tensor): Keys, (B, K, N, p).
        v (Tensor): Values, (B, K, N, p).
        eps (float): Added to the normaliser. Defaults to 1e-6.
        impl (str): One form serves all, see :mod:`mmwhitebox.ops.dispatch`. Defaults to 'auto'.

    Returns:
        Tensor: (B, K, N, p).
    """
    no_kernels('relu_linear_attention', impl)
    q_features, k_features = widen(F.relu(q)), widen(F.relu(k))
    with no_autocast(q):
        numerator = q_features @ (k_features.mT @ widen(v))
        normaliser = q_features @ k_features.sum(-2).unsqueeze(-1)  # (B, K, N, 1)
    return (numerator / (normaliser + eps)).to(v.dtype)
