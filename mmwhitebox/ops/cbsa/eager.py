r"""CBSA for any device, fast: see :mod:`mmwhitebox.ops.cbsa` for the equations.

Backward, for the gradient Y of the output. A is computed again, so that no (B, K, m, N) array is kept:

    dC' = A Y                                 C' = step_x C;  dstep_x = sum C * dC'
    dR  = (dC/dR)^T (step_x dC')              dstep_rep = sum (A W) * dR,  G = step_rep dR
    dA  = C' Y^T + G W^T
    dS  = A * (dA - delta)                    delta_m = sum_n A_mn dA_mn
    dW  = A^T G + s dS^T R0                   dR0 = dR + s dS W

The map back, sum_k (A_k^T C'_k) V_k + b with V_k the p rows of its matrix that read head k, is linear as well. Mapping
the representatives, M_k = C'_k V_k, leaves one product over all heads and representatives, [A_1; ...; A_K]^T M + b:
no head's output is made, and none is kept for the gradient of V. Then, for the gradient Y of the mapped output,

    dM  = A Y                                 dC' = dM V^T,  dV = sum C'^T dM,  db = sum Y
    dA  = M Y^T + G W^T                       the rest as above

Multiplications of an image beside those that both ways have:

    ========  ======================  =============================
              tokens mapped           representatives mapped
    ========  ======================  =============================
    forward   N K p (m + D)           K m D (N + p)
    backward  2 N K p (m + D)         2 K m D (N + p), M again + 1
    ========  ======================  =============================
"""
import math

import torch
from torch import Tensor

from ..autograd import FirstOrder, first_order
from ..precision import no_autocast, widen
from .naive import contract, solve_gram

LARGE = 2**19
"""Numbers of an image's tokens W that a core's cache no longer holds."""


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


def extracted(r0: Tensor, step_rep: Tensor, gathered: Tensor) -> Tensor:
    """R = R0 + step_rep (A W), in the layout of A W: products would copy that of R0, whose heads lie side by side."""
    return (step_rep * gathered).add_(r0)


def maps_representatives(n: int, m: int, head_dims: int, embed_dims: int) -> bool:
    """Whether mapping the representatives saves at least a twentieth of the multiplications.

    Measured on a CPU, D 192 and 384, 1 and 8 images: what is saved by the counts is gained in time from there on,
    forward and backward; at equal counts a training step loses up to 6 per cent, at 0.88 of them up to 15.
    """
    return n * head_dims * (m + embed_dims) >= 1.05 * m * embed_dims * (n + head_dims)


def goes_by_image(w: Tensor) -> bool:
    """Whether images are taken one after the other, on a CPU from a size on.

    Products take the heads of one image as they lie among its tokens, where those of a batch are copied first, and can
    write there. The coefficients of one image are alive at once.
    """
    if torch.compiler.is_compiling() or torch.jit.is_tracing() or not len(w):
        return False
    return w.device.type == 'cpu' and math.prod(w.shape[1:]) >= LARGE


def like_tokens(w: Tensor) -> Tensor:
    """Memory for (B, K, N, p) in the order of the tokens, (B, N, K, p)."""
    return torch.empty_like(w.transpose(1, 2), memory_format=torch.contiguous_format).transpose(1, 2)


def map_back(c: Tensor, weight: Tensor) -> Tensor:
    """M, (B, K*m, D), of C', (B, K, m, p), and the weight of the map back, (D, K*p)."""
    return (c @ weight.unflatten(1, (c.shape[1], -1)).permute(1, 2, 0)).flatten(1, 2)


def attend(w: Tensor, r0: Tensor, step_rep: Tensor, step_x: Tensor, weight: Tensor | None, bias: Tensor | None,
           contraction: str | None, eps_squared: float, out: Tensor | None = None) -> tuple[Tensor, ...]:
    """The output, (B*K, N, p), mapped (B, N, D), also into ``out``; A W and C, (B, K, m, p)."""
    tokens, scaled_r0 = w.flatten(0, 1), (w.shape[-1]**-0.5 * r0).to(w.dtype).flatten(0, 1)
    a = coefficients(tokens, scaled_r0)
    gathered = widen(a @ tokens).view(r0.shape)
    del tokens  # a copy for a batch
    c = contract(extracted(r0, step_rep, gathered), contraction, eps_squared)
    sent = (step_x * c).to(w.dtype)
    if weight is None:
        return torch.bmm(a.mT, sent.flatten(0, 1), out=out), gathered, c
    mapped, a = map_back(sent, weight), a.unflatten(0, w.shape[:2]).flatten(1, 2).mT
    out = torch.bmm(a, mapped, out=out) if bias is None else torch.baddbmm(bias, a, mapped, out=out)
    return out, gathered, c


def attend_backward(w: Tensor, r0: Tensor, gathered: Tensor, c: Tensor, y: Tensor, step_rep: Tensor, step_x: Tensor,
                    weight: Tensor | None, contraction: str | None, eps_squared: float,
                    out: Tensor | None = None) -> tuple[Tensor | None, ...]:
    """Gradients of W, (B*K, N, p), also into ``out``, of R0, of the steps, (K), and of the weight."""
    s, shape = w.shape[-1]**-0.5, w.shape[:2]
    tokens, scaled_r0 = w.flatten(0, 1), (s * r0).to(w.dtype).flatten(0, 1)
    a = coefficients(tokens, scaled_r0)
    sent, grad_weight = step_x * c, None  # C'
    if weight is None:
        y = y.flatten(0, 1)
        grad_sent = widen(a @ y).view(r0.shape)
    else:
        grad_mapped = (a.unflatten(0, shape).flatten(1, 2) @ y).unflatten(1, r0.shape[1:3])  # dM, (B, K, m, D)
        grad_sent = grad_mapped @ weight.unflatten(1, (shape[1], -1)).transpose(0, 1)
        grad_weight = torch.einsum('bkmd,bkmp->dkp', grad_mapped, sent).flatten(1)
        del grad_mapped
    grad_step_x = (c * grad_sent).sum((0, 2, 3))
    r = extracted(r0, step_rep, gathered)
    grad_r = contract_backward(r, c, step_x * grad_sent, contraction, eps_squared)
    del r
    grad_step_rep = (gathered * grad_r).sum((0, 2, 3))
    grad_gathered = step_rep * grad_r  # G
    sent, grad_gathered = (t.to(w.dtype).flatten(0, 1) for t in (sent, grad_gathered))
    if weight is None:
        grad_a = torch.bmm(sent, y.mT)
    else:
        grad_a = torch.bmm(map_back(sent.unflatten(0, shape), weight), y.mT).view(a.shape)
    grad_a.baddbmm_(grad_gathered, tokens.mT)
    grad_scores = torch._softmax_backward_data(grad_a, a, -1, a.dtype, grad_input=grad_a)
    grad_w = torch.bmm(a.mT, grad_gathered, out=out)
    del a
    grad_w.baddbmm_(grad_scores.mT, scaled_r0)
    grad_r0 = torch.add(grad_r, (grad_scores @ tokens).view(r0.shape), alpha=s)
    return grad_w, grad_r0, grad_step_rep, grad_step_x, grad_weight


class _CBSA(FirstOrder):
    """Keeps W, R0, the steps and (B, K, m, p) statistics; with a map back, its matrix."""

    name = 'cbsa'

    @staticmethod
    def forward(w: Tensor, r0: Tensor, step_rep: Tensor, step_x: Tensor, weight: Tensor | None, bias: Tensor | None,
                contraction: str | None, eps_squared: float):
        rest = step_rep, step_x, weight, bias, contraction, eps_squared
        if not goes_by_image(w):
            out, *statistics = attend(w, r0, *rest)
            return out.view(w.shape) if weight is None else out, *statistics
        out = like_tokens(w) if weight is None else w.new_empty(w.shape[0], w.shape[2], weight.shape[0])
        rows = out if weight is None else out.unsqueeze(1)
        statistics = [attend(*image, *rest, out=row)[1:] for *image, row in zip(w.split(1), r0.split(1), rows)]
        return out, *map(torch.cat, zip(*statistics))

    @staticmethod
    def setup_context(ctx, inputs, output) -> None:
        *tensors, bias, ctx.contraction, ctx.eps_squared = inputs
        ctx.has_bias = bias is not None
        ctx.mark_non_differentiable(*output[1:])
        ctx.save_for_backward(*tensors, *output[1:])

    @staticmethod
    @first_order
    def backward(ctx, saved, y: Tensor, *_):
        w, r0, step_rep, step_x, weight, gathered, c = saved
        rest = step_rep, step_x, weight, ctx.contraction, ctx.eps_squared
        with no_autocast(w):
            if goes_by_image(w):
                grad_w = like_tokens(w)
                images = zip(*(t.split(1) for t in (w, r0, gathered, c, y)), grad_w)
                _, grad_r0, *sums = zip(*(attend_backward(*image, *rest, out=out) for *image, out in images))
                grad_r0 = torch.cat(grad_r0)
                sums = [None if each[0] is None else sum(each) for each in sums]
            else:
                grad_w, grad_r0, *sums = attend_backward(w, r0, gathered, c, y, *rest)
        grad_step_rep, grad_step_x, grad_weight = sums
        grad_bias = y.sum((0, 1)) if ctx.has_bias else None
        return (grad_w.view(w.shape), grad_r0.to(r0.dtype), grad_step_rep.view(step_rep.shape).to(step_rep.dtype),
                grad_step_x.view(step_x.shape).to(step_x.dtype), grad_weight, grad_bias, None, None)


def cbsa(w: Tensor,
         r0: Tensor,
         step_rep: Tensor,
         step_x: Tensor,
         contraction: str | None = 'softmax',
         eps_squared: float = 0.01) -> Tensor:
    """step_x (A^T C), (B, K, N, p); arguments as of :func:`mmwhitebox.ops.cbsa`."""
    return _CBSA.call(w, r0, step_rep, step_x, None, None, contraction, eps_squared)[0]


def mapped_cbsa(w: Tensor, r0: Tensor, step_rep: Tensor, step_x: Tensor, weight: Tensor, bias: Tensor | None,
                contraction: str | None, eps_squared: float) -> Tensor:
    """The same, mapped back by way of the representatives, (B, N, D); as of :func:`mmwhitebox.ops.mapped_cbsa`."""
    return _CBSA.call(w, r0, step_rep, step_x, weight, bias, contraction, eps_squared)[0]
