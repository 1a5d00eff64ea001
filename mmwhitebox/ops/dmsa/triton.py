r"""Decoupled Membership-Subspace Attention in fused kernels, both ways; see :mod:`mmwhitebox.ops.dmsa`.

    Pi = softmax_heads(L),    G = ST_heads(L),    W = G S
    A = sum_n Pi W^2,    P = sum_n Pi,    M = A / (P + 1e-8),    D = 1 / (1 + M),    out = -Pi W D

Forward, two passes over S: the moments A and P, then the output; D of any channel needs all tokens, so one
sum over all tokens comes before the first output. Pi and G are computed from L whenever a tile of tokens is
on the chip and are never written.

Backward, with g the gradient of out; two passes over g and S for the same reason:

    1. dM    = D^2 sum_n g Pi W
    2. u_n   = sum_i g S D,    v_n = sum_i dM S^2 / (P + 1e-8),    c = -sum_i dM M / (P + 1e-8)
       dPi_n = -G u + G^2 v + c,    dG_n = -Pi u + 2 Pi G v
       dS    = G (-g Pi D + 2 dM Pi W / (P + 1e-8))
       dL    = Pi (dPi - sum_heads Pi dPi) + [G > 0] (dG - mean of dG over the support of G)

Kept for the backward pass: S, L and (B, K, p) statistics.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from ..autograd import refuse_second
from ..kernels import launch, moments
from ..kernels.moments import (
    gate_backward,
    load_moments,
    score_addresses,
    softmax_heads_backward,
    statistic_addresses,
    token_addresses,
    weights,
)

GATES = ('st', 'sigmoid', 'relu', 'gelu', None)


@triton.jit
def moments_kernel(S, s_b, s_k, s_n, L, l_b, l_k, l_n, A, MASS, N, span, splits, K: tl.constexpr,
                   P: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr, BP: tl.constexpr, VEC: tl.constexpr,
                   GATE: tl.constexpr):
    """sum_n Pi W^2 and sum_n Pi over a span of the tokens of one image."""
    pid = tl.program_id(0)
    b = (pid // splits).to(tl.int64)
    first = (pid % splits) * span
    heads = tl.arange(0, BK)
    a = tl.zeros((BN, BK, BP), tl.float32)
    mass = tl.zeros((BN, BK), tl.float32)
    for start in range(first, tl.minimum(first + span, N), BN):
        tokens = start + tl.arange(0, BN)
        offsets, inside = token_addresses(b, tokens, s_b, s_k, s_n, N, K, P, BK, BP, VEC)
        s = tl.load(S + offsets, mask=inside, other=0.).to(tl.float32)
        z, pi, gate = weights(L, b, l_b, l_k, l_n, tokens, N, K, BK, GATE)
        w = gate[:, :, None] * s
        a += w * w * pi[:, :, None]
        mass += pi
    offsets, inside = statistic_addresses(pid.to(tl.int64), K, P, BK, BP)
    tl.store(A + offsets, tl.sum(a, 0), mask=inside)
    tl.store(MASS + pid.to(tl.int64) * K + heads, tl.sum(mass, 0), mask=heads < K)


@triton.jit
def gradient_kernel(GRAD, g_b, g_k, g_n, S, s_b, s_k, s_n, L, l_b, l_k, l_n, A, MASS, SLOPE, DS, ds_b, ds_k,
                    ds_n, DL, dl_b, dl_k, dl_n, N, span, splits, K: tl.constexpr, P: tl.constexpr,
                    BN: tl.constexpr, BK: tl.constexpr, BP: tl.constexpr, VEC: tl.constexpr,
                    GATE: tl.constexpr):
    """Pass 2: dS and dL of a span of the tokens of one image."""
    pid = tl.program_id(0)
    b = (pid // splits).to(tl.int64)
    first = (pid % splits) * span
    m, per_mass = load_moments(A, MASS, b, K, P, BK, BP)
    d = 1 / (1 + m)
    statistic, valid = statistic_addresses(b, K, P, BK, BP)
    da = d * d * tl.load(SLOPE + statistic, mask=valid, other=0.) * per_mass  # dM / (P + 1e-8)
    c = -tl.sum(da * m, 1)  # (BK)
    for start in range(first, tl.minimum(first + span, N), BN):
        tokens = start + tl.arange(0, BN)
        offsets, inside = token_addresses(b, tokens, s_b, s_k, s_n, N, K, P, BK, BP, VEC)
        s = tl.load(S + offsets, mask=inside, other=0.).to(tl.float32)
        offsets, inside = token_addresses(b, tokens, g_b, g_k, g_n, N, K, P, BK, BP, VEC)
        gd = tl.load(GRAD + offsets, mask=inside, other=0.).to(tl.float32) * d[None, :, :]
        z, pi, gate = weights(L, b, l_b, l_k, l_n, tokens, N, K, BK, GATE)
        u = tl.sum(gd * s, 2)  # (BN, BK)
        v = tl.sum(da[None, :, :] * s * s, 2)
        ds = (pi * gate)[:, :, None] * (2 * gate[:, :, None] * da[None, :, :] * s - gd)
        offsets, inside = token_addresses(b, tokens, ds_b, ds_k, ds_n, N, K, P, BK, BP, VEC)
        tl.store(DS + offsets, ds.to(DS.dtype.element_ty), mask=inside)
        dpi = gate * (gate * v - u) + c[None, :]
        dgate = pi * (2 * gate * v - u)
        dl = softmax_heads_backward(pi, dpi) + gate_backward(z, gate, dgate, GATE)
        offsets, inside = score_addresses(b, tokens, dl_b, dl_k, dl_n, N, K, BK)
        tl.store(DL + offsets, dl.to(DL.dtype.element_ty), mask=inside)


@torch.library.custom_op('mmwhitebox::dmsa', mutates_args=())
def _dmsa(s: Tensor, logits: Tensor, gate: str) -> tuple[Tensor, Tensor, Tensor]:
    """Output, (B, K, N, p), A, (B, K, p), and the masses P, (B, K)."""
    s = launch.unit_last_stride(s)
    heads, tokens, dims = s.shape[1:]
    p = moments.plan(s)
    a = moments.empty_partials(s, p.splits, heads, dims)
    mass = moments.empty_partials(s, p.splits, heads)
    with launch.on_device(s):
        moments_kernel[p.grid](*moments.strided(s, p.vec), *moments.strided(logits), a, mass, tokens, p.span,
                               p.splits, GATE=gate, **p.meta)
    a, mass = moments.merge(a), moments.merge(mass)
    return moments.output(s, logits, a, mass, gate), a, mass


@_dmsa.register_fake
def _(s: Tensor, logits: Tensor, gate: str) -> tuple[Tensor, Tensor, Tensor]:
    batch, heads, _, dims = s.shape
    return (moments.empty_heads(s), s.new_empty((batch, heads, dims), dtype=torch.float32),
            s.new_empty((batch, heads), dtype=torch.float32))


@torch.library.custom_op('mmwhitebox::dmsa_backward', mutates_args=())
def _dmsa_backward(grad: Tensor, s: Tensor, logits: Tensor, a: Tensor, mass: Tensor,
                   gate: str) -> tuple[Tensor, Tensor]:
    """Gradients of S, (B, K, N, p), and of the logits L, (B, K, N)."""
    grad, s = launch.unit_last_stride(grad), launch.unit_last_stride(s)
    slope = moments.slope(grad, s, logits, gate)
    ds, dl = moments.empty_heads(s), moments.empty_scores(s, logits.dtype)
    p = moments.plan(s, grad, ds)
    with launch.on_device(s):
        gradient_kernel[p.grid](*moments.strided(grad, p.vec), *moments.strided(s, p.vec),
                                *moments.strided(logits), a, mass, slope, *moments.strided(ds, p.vec),
                                *moments.strided(dl), s.shape[2], p.span, p.splits, GATE=gate, **p.meta)
    return ds, dl


@_dmsa_backward.register_fake
def _(grad: Tensor, s: Tensor, logits: Tensor, a: Tensor, mass: Tensor, gate: str) -> tuple[Tensor, Tensor]:
    return moments.empty_heads(s), moments.empty_scores(s, logits.dtype)


def _keep(ctx, inputs: tuple[Tensor, Tensor, str], output: tuple[Tensor, Tensor, Tensor]) -> None:
    s, logits, ctx.gate = inputs
    ctx.mark_non_differentiable(*output[1:])
    ctx.set_materialize_grads(False)
    ctx.save_for_backward(s, logits, *output[1:])


def _gradients(ctx, grad: Tensor | None, *_) -> tuple[Tensor | None, Tensor | None, None]:
    ds, dl = (None, None) if grad is None else _dmsa_backward(grad, *ctx.saved_tensors, ctx.gate)
    return ds, dl, None


_dmsa.register_autograd(_gradients, setup_context=_keep)
_dmsa_backward.register_autograd(refuse_second('dmsa'))


def unsupported(s: Tensor,
                logits: Tensor,
                membership_act: str | None = 'softmax',
                gate_act: str | None = 'st') -> str | None:
    """Why this call cannot run fused, in a few words; None if it can."""
    if membership_act != 'softmax':
        return f'there is no kernel for membership_act={membership_act!r}'
    if gate_act not in GATES:
        return f'there is no kernel for gate_act={gate_act!r}'
    return moments.unsupported(s, logits)


def dmsa(s: Tensor,
         logits: Tensor,
         membership_act: str | None = 'softmax',
         gate_act: str | None = 'st') -> Tensor:
    """-(Pi * W) / (1 + M), (B, K, N, p), fused; arguments as of :func:`mmwhitebox.ops.dmsa`.

    S and the logits are float32, bfloat16 or float16, not always of one type; ``membership_act`` is 'softmax'. In
    memory the output is (B, N, K, p), so that merging the heads copies nothing.
    """
    return _dmsa(s, logits, 'none' if gate_act is None else gate_act)[0]
