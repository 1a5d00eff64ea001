r"""Contract-and-Broadcast Self-Attention (CBSA, NeurIPS 2025, eq. 5-8).

    initialise   R0 = AvgPool_{g x g}(W)                    m = g^2 representatives per subspace
    extract      A  = softmax_tokens(s R0 W^T)              R = R0 + step_rep (A W)        (eq. 5)
    contract     C  = softmax(s R R^T) R                                                  (eq. 8)
              or C  = (I + p / (m eps^2) R R^T)^{-1} R                                    (eq. 7)
    broadcast    CBSA(W) = step_x (A^T C)                                                 (eq. 6)

with s = p^{-1/2}. Contracting the m representatives compresses all N tokens: the cost is linear in N.

Backward, for the gradient Y of the output. A is computed again, so that no (B, K, m, N) array is kept:

    dC' = A Y                                 C' = step_x C;  dstep_x = sum C * dC'
    dR  = (dC/dR)^T (step_x dC')              dstep_rep = sum (A W) * dR,  G = step_rep dR
    dA  = C' Y^T + G W^T
    dS  = A * (dA - delta)                    delta_m = sum_n A_mn dA_mn = C'_m . dC'_m + G_m . (A W)_m
    dW  = A^T G + s dS^T R0                   dR0 = dR + s dS W
"""

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from .function import call
from .precision import no_autocast, wide_dtype, widen
from .resampling import pool_grid

CONTRACTIONS = ('softmax', 'inverse', None)


def pool_representatives(w: Tensor,
                         hw_shape: tuple[int, int],
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
    start = 0 if pool_tokens == 'official' else w.shape[1] - hw_shape[0] * hw_shape[1]
    pooled = pool_grid(w, start, hw_shape, pool_size)  # (B, m, K*p)
    return pooled.unflatten(-1, (num_heads, -1)).transpose(1, 2)


def extract(w: Tensor, r0: Tensor, step_rep: Tensor) -> tuple[Tensor, Tensor]:
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
    a = scores.softmax(-1, dtype=wide_dtype(w)).to(w.dtype)
    return a, r0 + step_rep * (a @ w)


def similarities(r: Tensor) -> Tensor:
    """softmax(s R R^T), (B, K, m, m).

    It is small. torch's fused attention, which does not make it, takes longer on a CPU (with oneDNN five times).
    """
    return (r.shape[-1]**-0.5 * r @ r.mT).softmax(-1)


def contract(r: Tensor, contraction: str | None = 'softmax', eps_squared: float = 0.01) -> Tensor:
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
        return similarities(r) @ r
    with no_autocast(r):
        return solve_gram(widen(r), widen(r), eps_squared).to(r.dtype)


def solve_gram(r: Tensor, x: Tensor, eps_squared: float) -> Tensor:
    """(I + c R R^T)^{-1} X if m <= p, else X (I + c R^T R)^{-1}, c = p/(m eps^2); the same thing for X = R."""
    m, p = r.shape[-2:]
    scaled = r * (p / (m * eps_squared))**0.5
    eye = torch.eye(min(m, p), dtype=r.dtype, device=r.device)
    if m <= p:
        return torch.linalg.solve_ex(eye + scaled @ scaled.mT, x).result
    return torch.linalg.solve_ex(eye + scaled.mT @ scaled, x, left=False).result


def contract_backward(r: Tensor, c: Tensor, grad: Tensor, contraction: str | None,
                      eps_squared: float) -> Tensor:
    """(dC/dR)^T applied to the gradient of C, all (B, K, m, p).

    softmax:  P = softmax(s R R^T), T = P * (dC R^T - sum_j P dC R^T):   dR = P^T dC + s (T + T^T) R
    inverse:  Y = dC solved as C was from R, Q = Y C^T if m <= p:        dR = Y - p/(m eps^2) (Q + Q^T) R
              else Q = C^T Y:                                            dR = Y - p/(m eps^2) R (Q + Q^T)
    """
    if contraction is None:
        return grad
    m, p = r.shape[-2:]
    if contraction == 'softmax':
        s = p**-0.5
        attention = similarities(r)
        t = attention * (grad @ r.mT - (grad * c).sum(-1, keepdim=True))
        return attention.mT @ grad + s * (t + t.mT) @ r
    y = solve_gram(r, grad, eps_squared)
    q = y @ c.mT if m <= p else c.mT @ y
    q = p / (m * eps_squared) * (q + q.mT)
    return y - (q @ r if m <= p else r @ q)


def broadcast(a: Tensor, c: Tensor) -> Tensor:
    """Send the contraction back to the tokens by the coefficients they were extracted with (eq. 6).

    Args:
        a (Tensor): Coefficients A, (B, K, m, N).
        c (Tensor): Contracted representatives C, (B, K, m, p).

    Returns:
        Tensor: A^T C, (B, K, N, p).
    """
    return a.transpose(-1, -2) @ c


def coefficients(tokens: Tensor, r0: Tensor) -> Tensor:
    """A = softmax_tokens(R0 W^T) in the memory of the scores; (B*K, N, p), (B*K, m, p) -> (B*K, m, N).

    The kernel reads and writes one row after the other, in float32 inside for half precision.
    """
    scores = r0 @ tokens.mT
    return torch.softmax(scores, -1, out=scores)


class _CBSA(torch.autograd.Function):
    """The equations on top of this file; keeps W, R0, the steps and (B, K, m, p) statistics."""

    @staticmethod
    def forward(w: Tensor, r0: Tensor, step_rep: Tensor, step_x: Tensor, contraction: str | None,
                eps_squared: float):
        tokens, scaled_r0 = w.flatten(0, 1), (w.shape[-1]**-0.5 * r0).to(w.dtype).flatten(0, 1)
        a = coefficients(tokens, scaled_r0)
        gathered = widen(a @ tokens).view(r0.shape)  # A W
        c = contract(r0 + step_rep * gathered, contraction, eps_squared)
        out = a.mT @ (step_x * c).to(w.dtype).flatten(0, 1)
        return out.view(w.shape), gathered, c

    @staticmethod
    def setup_context(ctx, inputs, output) -> None:
        *tensors, ctx.contraction, ctx.eps_squared = inputs
        ctx.mark_non_differentiable(*output[1:])
        ctx.save_for_backward(*tensors, *output[1:])

    @staticmethod
    @once_differentiable
    def backward(ctx, y: Tensor, *_):
        w, r0, step_rep, step_x, gathered, c = ctx.saved_tensors
        s = w.shape[-1]**-0.5
        with no_autocast(w):
            tokens, y = w.flatten(0, 1), y.flatten(0, 1)
            scaled_r0 = (s * r0).to(w.dtype).flatten(0, 1)
            a = coefficients(tokens, scaled_r0)
            scaled_c = step_x * c  # C'
            grad_scaled_c = widen(a @ y).view(r0.shape)
            grad_step_x = (c * grad_scaled_c).sum((0, 2, 3))
            r = r0 + step_rep * gathered
            grad_r = contract_backward(r, c, step_x * grad_scaled_c, ctx.contraction, ctx.eps_squared)
            grad_step_rep = (gathered * grad_r).sum((0, 2, 3))
            grad_gathered = step_rep * grad_r  # G
            delta = (scaled_c * grad_scaled_c + grad_gathered * gathered).sum(-1, keepdim=True)
            scaled_c, grad_gathered, delta = (
                t.to(w.dtype).flatten(0, 1) for t in (scaled_c, grad_gathered, delta))
            grad_scores = torch.baddbmm(-delta, scaled_c, y.mT)
            grad_scores = grad_scores.baddbmm_(grad_gathered, tokens.mT).mul_(a)
            grad_w = torch.bmm(a.mT, grad_gathered)
            del a
            grad_w.baddbmm_(grad_scores.mT, scaled_r0)
            grad_r0 = grad_r + s * (grad_scores @ tokens).view(r0.shape)
        return (grad_w.view(w.shape), grad_r0.to(r0.dtype), grad_step_rep.view(step_rep.shape).to(step_rep.dtype),
                grad_step_x.view(step_x.shape).to(step_x.dtype), None, None)


def cbsa(w: Tensor,
         r0: Tensor,
         step_rep: Tensor,
         step_x: Tensor,
         contraction: str | None = 'softmax',
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
    return call(_CBSA, w, r0, step_rep, step_x, contraction, eps_squared)[0]
