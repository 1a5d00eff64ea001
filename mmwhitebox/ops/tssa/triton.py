r"""Token Statistics Self-Attention in fused kernels, both ways; see :mod:`mmwhitebox.ops.tssa`.

    norms_i = max(sum_n W_ni^2, 1e-24),    E_n = sum_i W_ni^2 / norms_i,    Pi = softmax_heads(temp E)
    A = sum_n Pi W^2,    P = sum_n Pi,    M = A / (P + 1e-8),    D = 1 / (1 + M),    out = -Pi W D

Forward, three passes over W: the norms, then Pi with the moments A and P, then the output. Fewer are not
possible while W does not fit on the chip: Pi of any token needs the norms of all tokens, and D of any
channel needs Pi of all tokens, so that two sums over all tokens come before the first output.

Backward, with g the gradient of out; three passes over g and W for the same reason:

    1. dM    = D^2 sum_n g Pi W
    2. dPi_n = sum_i [-g W D + dM (W^2 - M) / (P + 1e-8)]
       dZ    = Pi (dPi - sum_heads Pi dPi),    dtemp = sum_n dZ E,    dE = temp dZ,    T = sum_n dE W^2
    3. dW    = -g Pi D + 2 W [dM Pi / (P + 1e-8) + dE / norms - T / norms^2]

where the term of T is zero in a channel whose norm is clamped. Kept for the backward pass: W, Pi and
(B, K, p) statistics.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from ..autograd import refuse_second
from ..kernels import launch, moments
from ..kernels.moments import (
    load_moments,
    score_addresses,
    softmax_heads,
    softmax_heads_backward,
    statistic_addresses,
    token_addresses,
)


@triton.jit
def load_inverse_norms(NORMS, b, K: tl.constexpr, P: tl.constexpr, BK: tl.constexpr, BP: tl.constexpr):
    """1 / norms, (BK, BP), clamped, and where the clamp did not act (zero outside the heads and dims)."""
    offsets, inside = statistic_addresses(b, K, P, BK, BP)
    norms = tl.load(NORMS + offsets, mask=inside, other=0.)
    return 1 / tl.maximum(norms, 1e-24), norms >= 1e-24


@triton.jit
def norms_kernel(W, w_b, w_k, w_n, NORMS, N, span, splits, K: tl.constexpr, P: tl.constexpr, BN: tl.constexpr,
                 BK: tl.constexpr, BP: tl.constexpr, VEC: tl.constexpr):
    """sum_n W^2 over a span of the tokens of one image."""
    pid = tl.program_id(0)
    b = (pid // splits).to(tl.int64)
    first = (pid % splits) * span
    norms = tl.zeros((BN, BK, BP), tl.float32)
    for start in range(first, tl.minimum(first + span, N), BN):
        tokens = start + tl.arange(0, BN)
        offsets, inside = token_addresses(b, tokens, w_b, w_k, w_n, N, K, P, BK, BP, VEC)
        w = tl.load(W + offsets, mask=inside, other=0.).to(tl.float32)
        norms += w * w
    offsets, inside = statistic_addresses(pid.to(tl.int64), K, P, BK, BP)
    tl.store(NORMS + offsets, tl.sum(norms, 0), mask=inside)


@triton.jit
def membership_kernel(W, w_b, w_k, w_n, TEMP, NORMS, PI, pi_b, pi_k, pi_n, A, MASS, N, span, splits,
                      K: tl.constexpr, P: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr, BP: tl.constexpr,
                      VEC: tl.constexpr):
    """Pi of a span of the tokens of one image, and sum_n Pi W^2 and sum_n Pi over it."""
    pid = tl.program_id(0)
    b = (pid // splits).to(tl.int64)
    first = (pid % splits) * span
    heads = tl.arange(0, BK)
    temp = tl.load(TEMP + heads, mask=heads < K, other=0.).to(tl.float32)
    inverse, unclamped = load_inverse_norms(NORMS, b, K, P, BK, BP)
    a = tl.zeros((BN, BK, BP), tl.float32)
    mass = tl.zeros((BN, BK), tl.float32)
    for start in range(first, tl.minimum(first + span, N), BN):
        tokens = start + tl.arange(0, BN)
        offsets, inside = token_addresses(b, tokens, w_b, w_k, w_n, N, K, P, BK, BP, VEC)
        w = tl.load(W + offsets, mask=inside, other=0.).to(tl.float32)
        energy = tl.sum(w * w * inverse[None, :, :], 2)  # (BN, BK)
        offsets, inside = score_addresses(b, tokens, pi_b, pi_k, pi_n, N, K, BK)
        pi = tl.where(inside, softmax_heads(temp[None, :] * energy, K, BK), 0.)
        tl.store(PI + offsets, pi, mask=inside)
        a += w * w * pi[:, :, None]
        mass += pi
    offsets, inside = statistic_addresses(pid.to(tl.int64), K, P, BK, BP)
    tl.store(A + offsets, tl.sum(a, 0), mask=inside)
    tl.store(MASS + pid.to(tl.int64) * K + heads, tl.sum(mass, 0), mask=heads < K)


@triton.jit
def energy_gradient_kernel(GRAD, g_b, g_k, g_n, W, w_b, w_k, w_n, TEMP, PI, pi_b, pi_k, pi_n, NORMS, A, MASS,
                           SLOPE, DE, de_b, de_k, de_n, DTEMP, T, N, span, splits, K: tl.constexpr,
                           P: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr, BP: tl.constexpr,
                           VEC: tl.constexpr):
    """Pass 2: dE of a span of the tokens of one image, and sum_n dZ E and sum_n dE W^2 over it."""
    pid = tl.program_id(0)
    b = (pid // splits).to(tl.int64)
    first = (pid % splits) * span
    heads = tl.arange(0, BK)
    temp = tl.load(TEMP + heads, mask=heads < K, other=0.).to(tl.float32)
    inverse, unclamped = load_inverse_norms(NORMS, b, K, P, BK, BP)
    m, per_mass = load_moments(A, MASS, b, K, P, BK, BP)
    d = 1 / (1 + m)
    statistic, valid = statistic_addresses(b, K, P, BK, BP)
    da = d * d * tl.load(SLOPE + statistic, mask=valid, other=0.) * per_mass  # dM / (P + 1e-8)
    dmass = -tl.sum(da * m, 1)  # (BK)
    dtemp = tl.zeros((BN, BK), tl.float32)
    t = tl.zeros((BN, BK, BP), tl.float32)
    for start in range(first, tl.minimum(first + span, N), BN):
        tokens = start + tl.arange(0, BN)
        offsets, inside = token_addresses(b, tokens, w_b, w_k, w_n, N, K, P, BK, BP, VEC)
        w = tl.load(W + offsets, mask=inside, other=0.).to(tl.float32)
        offsets, inside = token_addresses(b, tokens, g_b, g_k, g_n, N, K, P, BK, BP, VEC)
        g = tl.load(GRAD + offsets, mask=inside, other=0.).to(tl.float32)
        offsets, inside = score_addresses(b, tokens, pi_b, pi_k, pi_n, N, K, BK)
        pi = tl.load(PI + offsets, mask=inside, other=0.)
        energy = tl.sum(w * w * inverse[None, :, :], 2)
        dpi = tl.sum(w * (w * da[None, :, :] - g * d[None, :, :]), 2) + dmass[None, :]
        dz = softmax_heads_backward(pi, dpi)
        de = temp[None, :] * dz
        offsets, inside = score_addresses(b, tokens, de_b, de_k, de_n, N, K, BK)
        tl.store(DE + offsets, de, mask=inside)
        dtemp += dz * energy
        t += w * w * de[:, :, None]
    offsets, inside = statistic_addresses(pid.to(tl.int64), K, P, BK, BP)
    tl.store(T + offsets, tl.sum(t, 0), mask=inside)
    tl.store(DTEMP + pid.to(tl.int64) * K + heads, tl.sum(dtemp, 0), mask=heads < K)


@triton.jit
def token_gradient_kernel(GRAD, g_b, g_k, g_n, W, w_b, w_k, w_n, PI, pi_b, pi_k, pi_n, DE, de_b, de_k, de_n,
                          NORMS, A, MASS, SLOPE, T, DW, dw_b, dw_k, dw_n, N, span, splits, K: tl.constexpr,
                          P: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr, BP: tl.constexpr,
                          VEC: tl.constexpr):
    """Pass 3: dW of a span of the tokens of one image."""
    pid = tl.program_id(0)
    b = (pid // splits).to(tl.int64)
    first = (pid % splits) * span
    inverse, unclamped = load_inverse_norms(NORMS, b, K, P, BK, BP)
    m, per_mass = load_moments(A, MASS, b, K, P, BK, BP)
    d = 1 / (1 + m)
    statistic, valid = statistic_addresses(b, K, P, BK, BP)
    da = d * d * tl.load(SLOPE + statistic, mask=valid, other=0.) * per_mass
    t = tl.load(T + statistic, mask=valid, other=0.)
    dnorms = tl.where(unclamped, -t * inverse * inverse, 0.)
    for start in range(first, tl.minimum(first + span, N), BN):
        tokens = start + tl.arange(0, BN)
        offsets, inside = token_addresses(b, tokens, w_b, w_k, w_n, N, K, P, BK, BP, VEC)
        w = tl.load(W + offsets, mask=inside, other=0.).to(tl.float32)
        offsets, inside = token_addresses(b, tokens, g_b, g_k, g_n, N, K, P, BK, BP, VEC)
        g = tl.load(GRAD + offsets, mask=inside, other=0.).to(tl.float32)
        offsets, inside = score_addresses(b, tokens, pi_b, pi_k, pi_n, N, K, BK)
        pi = tl.load(PI + offsets, mask=inside, other=0.)[:, :, None]
        offsets, inside = score_addresses(b, tokens, de_b, de_k, de_n, N, K, BK)
        de = tl.load(DE + offsets, mask=inside, other=0.)[:, :, None]
        dw = 2 * w * (da[None, :, :] * pi + inverse[None, :, :] * de + dnorms[None, :, :])
        dw -= g * pi * d[None, :, :]
        offsets, inside = token_addresses(b, tokens, dw_b, dw_k, dw_n, N, K, P, BK, BP, VEC)
        tl.store(DW + offsets, dw.to(DW.dtype.element_ty), mask=inside)


@torch.library.custom_op('mmwhitebox::tssa', mutates_args=())
def _tssa(w: Tensor, temp: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Output, (B, K, N, p), Pi, (B, K, N), norms and A, (B, K, p), and the masses P, (B, K)."""
    w, temp = launch.unit_last_stride(w), temp.contiguous()
    heads, tokens, dims = w.shape[1:]
    p = moments.plan(w)
    vectors = moments.strided(w, p.vec)
    norms = moments.empty_partials(w, p.splits, heads, dims)
    with launch.on_device(w):
        norms_kernel[p.grid](*vectors, norms, tokens, p.span, p.splits, **p.meta)
    norms = moments.merge(norms)
    pi = moments.empty_scores(w, torch.float32)
    a = moments.empty_partials(w, p.splits, heads, dims)
    mass = moments.empty_partials(w, p.splits, heads)
    with launch.on_device(w):
        membership_kernel[p.grid](*vectors, temp, norms, *moments.strided(pi), a, mass, tokens, p.span,
                                  p.splits, **p.meta)
    a, mass = moments.merge(a), moments.merge(mass)
    return moments.output(w, pi, a, mass, 'given'), pi, norms, a, mass


@_tssa.register_fake
def _(w: Tensor, temp: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    batch, heads, _, dims = w.shape
    statistic = w.new_empty((batch, heads, dims), dtype=torch.float32)
    return (moments.empty_heads(w), moments.empty_scores(w, torch.float32), statistic,
            torch.empty_like(statistic), w.new_empty((batch, heads), dtype=torch.float32))


@torch.library.custom_op('mmwhitebox::tssa_backward', mutates_args=())
def _tssa_backward(grad: Tensor, w: Tensor, temp: Tensor, pi: Tensor, norms: Tensor, a: Tensor,
                   mass: Tensor) -> tuple[Tensor, Tensor]:
    """Gradients of W, (B, K, N, p), and of the temperatures, (K, 1)."""
    grad, w, steps = launch.unit_last_stride(grad), launch.unit_last_stride(w), temp.contiguous()
    heads, tokens, dims = w.shape[1:]
    slope = moments.slope(grad, w, pi, 'given')
    dw, de = moments.empty_heads(w), moments.empty_scores(w, torch.float32)
    p = moments.plan(w, grad, dw)
    vectors = (*moments.strided(grad, p.vec), *moments.strided(w, p.vec))
    scores = (*moments.strided(pi), *moments.strided(de))
    dtemp = moments.empty_partials(w, p.splits, heads)
    t = moments.empty_partials(w, p.splits, heads, dims)
    with launch.on_device(w):
        energy_gradient_kernel[p.grid](*vectors, steps, *moments.strided(pi), norms, a, mass, slope,
                                       *moments.strided(de), dtemp, t, tokens, p.span, p.splits, **p.meta)
    t = moments.merge(t)
    with launch.on_device(w):
        token_gradient_kernel[p.grid](*vectors, *scores, norms, a, mass, slope, t,
                                      *moments.strided(dw, p.vec), tokens, p.span, p.splits, **p.meta)
    return dw, dtemp.sum((0, 1)).reshape(temp.shape).to(temp.dtype)


@_tssa_backward.register_fake
def _(grad: Tensor, w: Tensor, temp: Tensor, pi: Tensor, norms: Tensor, a: Tensor,
      mass: Tensor) -> tuple[Tensor, Tensor]:
    return moments.empty_heads(w), torch.empty(temp.shape, dtype=temp.dtype, device=temp.device)


def _keep(ctx, inputs: tuple[Tensor, Tensor], output: tuple[Tensor, ...]) -> None:
    ctx.mark_non_differentiable(*output[1:])
    ctx.set_materialize_grads(False)
    ctx.save_for_backward(*inputs, *output[1:])


def _gradients(ctx, grad: Tensor | None, *_) -> tuple[Tensor | None, Tensor | None]:
    return (None, None) if grad is None else _tssa_backward(grad, *ctx.saved_tensors)


_tssa.register_autograd(_gradients, setup_context=_keep)
_tssa_backward.register_autograd(refuse_second('tssa'))


unsupported = moments.unsupported


def tssa(w: Tensor, temp: Tensor) -> Tensor:
    """-(Pi * W) / (1 + M), (B, K, N, p), fused; arguments as of :func:`mmwhitebox.ops.tssa`.

    W is float32, bfloat16 or float16. In memory the output is (B, N, K, p), so that merging the heads copies nothing.
    """
    return _tssa(w, temp)[0]
