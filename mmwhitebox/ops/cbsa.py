r"""Contract-and-Broadcast Self-Attention (CBSA, NeurIPS 2025, eq. 5-8).

    initialise   R0 = AvgPool_{g x g}(W)                    m = g^2 representatives per subspace
    extract      A  = softmax_tokens(s R0 W^T)              R = R0 + step_rep (A W)        (eq. 5)
    contract     C  = softmax(s R R^T) R                                                  (eq. 8)
              or C  = (I + p / (m eps^2) R R^T)^{-1} R                                    (eq. 7)
    broadcast    CBSA(W) = step_x (A^T C)                                                 (eq. 6)

with s = p^{-1/2}. Contracting the m representatives compresses all N tokens: the cost is linear in N.
"""
from typing import Optional, Tuple

import torch
import torch.nn.functional as F
from torch import Tensor

from .precision import no_autocast, widen
from .resampling import adaptive_avg_pool

CONTRACTIONS = ('softmax', 'inverse', None)


def pool_representatives(w: Tensor,
                         hw_shape: Tuple[int, int],
                         pool_size: int,
                         num_heads: int,
                         pool_tokens: str = 'patch') -> Tensor:
    """Initial representatives R0: an adaptive average pool of the token grid, heads split after.

    Args:
        w (Tensor): Projected tokens before the heads are split, (B, N, K*p), N = E + H*W with the E
            extra tokens first.
        hw_shape (tuple[int, int]): Grid (H, W) of the patch tokens. A grid smaller than the pool is
            allowed: the windows of the pool then repeat tokens.
        pool_size (int): g; m = g*g representatives.
        num_heads (int): K.
        pool_tokens (str): ``'patch'`` pools the H*W patch tokens. ``'official'`` pools the tokens
            [0, H*W) of the sequence as the published classification code does: the class token is in,
            the last patch is out. Its checkpoints were trained that way. Defaults to 'patch'.

    Returns:
        Tensor: R0, (B, K, m, p).
    """
    num_patches = hw_shape[0] * hw_shape[1]
    patches = w[:, :num_patches] if pool_tokens == 'official' else w[:, w.shape[1] - num_patches:]
    grid = patches.unflatten(1, hw_shape).permute(0, 3, 1, 2)  # (B, K*p, H, W)
    pooled = adaptive_avg_pool(grid, pool_size)  # (B, K*p, g, g)
    return pooled.flatten(2).unflatten(1, (num_heads, -1)).transpose(-1, -2)


def extract(w: Tensor, r0: Tensor, step_rep: Tensor) -> Tuple[Tensor, Tensor]:
    """Extract the representatives from the tokens by one cross-attention step (eq. 5).

    Args:
        w (Tensor): Projected tokens W, (B, K, N, p).
        r0 (Tensor): Initial representatives R0, (B, K, m, p).
        step_rep (Tensor): One step size per head, (K, 1, 1).

    Returns:
        tuple[Tensor, Tensor]: Coefficients A, (B, K, m, N), rows summing to one, and the
        representatives R, (B, K, m, p).
    """
    s = w.shape[-1]**-0.5
    scores = s * r0 @ w.transpose(-1, -2)  # (B, K, m, N)
    a = scores.softmax(-1, dtype=torch.promote_types(w.dtype, torch.float32)).to(w.dtype)
    return a, r0 + step_rep * (a @ w)


def contract(r: Tensor, contraction: Optional[str] = 'softmax', eps_squared: float = 0.01) -> Tensor:
    """Contract the representatives: one gradient step on their coding rate (eq. 7 or 8).

    Args:
        r (Tensor): Representatives R, (B, K, m, p).
        contraction (str, optional): ``'softmax'`` (eq. 8, the paper's default): softmax(s R R^T) R.
            ``'inverse'`` (eq. 7): (I + p/(m eps^2) R R^T)^{-1} R, evaluated on the smaller of the two
            Gram matrices. None leaves R as it is. Defaults to 'softmax'.
        eps_squared (float): eps^2 of eq. 7. Defaults to 0.01.

    Returns:
        Tensor: C, (B, K, m, p).
    """
    if contraction is None:
        return r
    if contraction == 'softmax':
        return F.scaled_dot_product_attention(r, r, r)
    m, p = r.shape[-2:]
    scaled = widen(r) * (p / (m * eps_squared))**0.5
    eye = torch.eye(min(m, p), dtype=scaled.dtype, device=r.device)
    with no_autocast(r):
        if m <= p:
            c = torch.linalg.solve(eye + scaled @ scaled.mT, r.to(scaled.dtype))
        else:  # (I + R R^T)^{-1} R = R (I + R^T R)^{-1}
            c = torch.linalg.solve(eye + scaled.mT @ scaled, r.to(scaled.dtype), left=False)
    return c.to(r.dtype)


def broadcast(a: Tensor, c: Tensor) -> Tensor:
    """Send the contraction back to the tokens by the coefficients they were extracted with (eq. 6).

    Args:
        a (Tensor): Coefficients A, (B, K, m, N).
        c (Tensor): Contracted representatives C, (B, K, m, p).

    Returns:
        Tensor: A^T C, (B, K, N, p).
    """
    return a.transpose(-1, -2) @ c


def cbsa(w: Tensor,
         r0: Tensor,
         step_rep: Tensor,
         step_x: Tensor,
         contraction: Optional[str] = 'softmax',
         eps_squared: float = 0.01) -> Tensor:
    """Contract-and-Broadcast Self-Attention of projected tokens.

    Args:
        w (Tensor): Projected tokens W, (B, K, N, p).
        r0 (Tensor): Initial representatives R0, (B, K, m, p), see :func:`pool_representatives`.
        step_rep (Tensor): Extraction step, one per head, (K, 1, 1).
        step_x (Tensor): Broadcast step, one per head, (K, 1, 1). Sign and scale are not constrained.
        contraction (str, optional): See :func:`contract`. Defaults to 'softmax'.
        eps_squared (float): See :func:`contract`. Defaults to 0.01.

    Returns:
        Tensor: step_x (A^T C), (B, K, N, p), before the output map.
    """
    a, r = extract(w, r0, step_rep)
    return broadcast(a, step_x * contract(r, contraction, eps_squared)).to(w.dtype)
