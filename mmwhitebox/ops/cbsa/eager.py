r"""CBSA for any device, fast: see :mod:`mmwhitebox.ops.cbsa` for the equations.

Backward, for the gradient Y of the output. A is computed again, so that no (B, K, m, N) array is kept:

    dC' = A Y                                 C' = step_x C;  dstep_x = sum C * dC'
    dR  = (dC/dR)^T (step_x dC')              dstep_rep = sum (A W) * dR,  G = step_rep dR
    dA  = C' Y^T + G W^T
    dS  = A * (dA - delta)                    delta_m = sum_n A_mn dA_mn = C'_m . dC'_m + G_m . (A W)_m
    dW  = A^T G + s dS^T R0                   dR0 = dR + s dS W
"""

import torch
from torch import Tensor

from ..autograd import FirstOrder, first_order
from ..precision import no_autocast, widen
from .naive import contract, solve_gram


def similarities(r: Tensor) -> Tensor:
    """softmax(s R R^T), (B, K, m, m).

    It is small. torch's fused attention, which does not make it, takes longer on a CPU (with oneDNN five times).
    """
    return (r.shape[-1]**-0.5 * r @ r.mT).softmax(-1)


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


def coefficients(tokens: Tensor, r0: Tensor) -> Tensor:
    """A = softmax_tokens(R0 W^T) in the memory of the scores; (B*K, N, p), (B*K, m, p) -> (B*K, m, N).

    The kernel reads and writes one row after the other, in float32 inside for half precision.
    """
    scores = r0 @ tokens.mT
    return torch.softmax(scores, -1, out=scores)


class _CBSA(FirstOrder):
    """Keeps W, R0, the steps and (B, K, m, p) statistics."""

    name = 'cbsa'

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
    @first_order
    def backward(ctx, saved, y: Tensor, *_):
        w, r0, step_rep, step_x, gathered, c = saved
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
    """step_x (A^T C), (B, K, N, p); arguments as of :func:`mmwhitebox.ops.cbsa`."""
    return _CBSA.call(w, r0, step_rep, step_x, contraction, eps_squared)[0]
