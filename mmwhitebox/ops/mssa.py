r"""Multi-head Subspace Self-Attention (CRATE, NeurIPS 2023; CBSA, NeurIPS 2025, eq. 9).

    MSSA(W) = softmax(s W W^T) W,          s = p^{-1/2}

One map W = X U is query, key and value: each head is a subspace with basis U_k, the step compresses
the tokens inside it. MSCA (DEPICT, NeurIPS 2024) has the same form with other queries:

    MSCA(Q, W) = softmax(s Q W^T) W
"""
from torch import Tensor

from .softmax_attention import softmax_attention


def mssa(w: Tensor, impl: str = 'auto') -> Tensor:
    """Compress tokens inside each subspace by self-attention.

    Args:
        w (Tensor): Projected tokens W, (B, K, N, p): K subspaces of p dimensions.
        impl (str): The form, see :mod:`mmwhitebox.ops.dispatch`. Defaults to 'auto'.

    Returns:
        Tensor: softmax(s W W^T) W, (B, K, N, p).
    """
    return softmax_attention(w, w, w, impl)


def msca(q: Tensor, w: Tensor, impl: str = 'auto') -> Tensor:
    """Express queries by the tokens of each subspace.

    Args:
        q (Tensor): Projected queries Q, (B, K, M, p).
        w (Tensor): Projected tokens W, (B, K, N, p): keys and values.
        impl (str): The form, see :mod:`mmwhitebox.ops.dispatch`. Defaults to 'auto'.

    Returns:
        Tensor: softmax(s Q W^T) W, (B, K, M, p).
    """
    return softmax_attention(q, w, w, impl)
