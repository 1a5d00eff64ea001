r"""Second moments of tokens: the kernels that TSSA and DMSA share.

With the membership Pi, (B, K, N), and the gate G, (B, K, N) (1 in TSSA), of the tokens S, (B, K, N, p):

    A_k = sum_n Pi_kn G_kn^2 S_kn^2,    P_k = sum_n Pi_kn,    M_k = A_k / (P_k + 1e-8),    D_k = 1 / (1 + M_k)
    out = -Pi G S D
    dM  = D^2 sum_n g Pi G S            with g the gradient of out; the sum is called the slope

Tiles. A program holds a few tokens of ALL heads, (BN, BK, BP) with K and p padded to powers of two and
masked: that is one run of memory after the head split, the softmax over the heads stays in registers, and S
is read once a pass however many sums a pass takes. Sums over the tokens are kept in registers for a span of
tokens, written as one partial sum a program, (B, splits, K, p), and added afterwards: no atomics, so that
two runs agree to the bit. Everything is computed in float32 and addressed in 64 bits.
"""
from math import gcd
from typing import NamedTuple, Tuple

import torch
import triton
import triton.language as tl
from torch import Tensor

PROGRAMS_PER_SM = 8
"""Programs a multiprocessor should get before a long row of tokens is no longer split."""


@triton.jit
def heads_of(x, other, K: tl.constexpr, BK: tl.constexpr):
    """x, (BN, BK), with ``other`` in the columns that are no head."""
    return tl.where((tl.arange(0, BK) < K)[None, :], x, other)


@triton.jit
def softmax_heads(x, K: tl.constexpr, BK: tl.constexpr):
    """Softmax over the heads of x, (BN, BK)."""
    x = heads_of(x, float('-inf'), K, BK)
    e = tl.exp(x - tl.max(x, 1)[:, None])
    return e / tl.sum(e, 1)[:, None]


@triton.jit
def softmax_heads_backward(pi, grad):
    """Gradient of the logits of a softmax over the heads; Pi is zero where there is no head."""
    return pi * (grad - tl.sum(pi * grad, 1)[:, None])


@triton.jit
def sparsemax_heads(z, K: tl.constexpr, BK: tl.constexpr):
    """Euclidean projection of z, (BN, BK), onto the simplex over the heads, without a sort.

    z_i is in the support if 1 + c_i z_i > sum of the c_i entries >= z_i. Equal entries share c_i and the
    sum, and pass or fail together, as they do one after the other in the sorted form.
    """
    z = heads_of(z, float('-inf'), K, BK)
    z = heads_of(z - tl.max(z, 1)[:, None], 0., K, BK)  # largest 0: the projection ignores a shift
    above = (z[:, None, :] >= z[:, :, None]) & (tl.arange(0, BK) < K)[None, None, :]  # [n, i, j]: z_j >= z_i
    count = tl.sum(above.to(tl.float32), 2)
    total = tl.sum(tl.where(above, z[:, None, :], 0.), 2)
    support = heads_of((1 + count * z > total).to(tl.float32), 0., K, BK)
    tau = (tl.sum(support * z, 1) - 1) / tl.sum(support, 1)
    return heads_of(tl.maximum(z - tau[:, None], 0.), 0., K, BK)


@triton.jit
def gate_of(z, K: tl.constexpr, BK: tl.constexpr, GATE: tl.constexpr):
    """G, (BN, BK), of logits z."""
    if GATE == 'st':
        g = sparsemax_heads(z, K, BK)
    elif GATE == 'sigmoid':
        g = tl.sigmoid(z)
    elif GATE == 'relu':
        g = tl.maximum(z, 0.)
    elif GATE == 'gelu':
        g = 0.5 * z * (1 + tl.erf(z * 0.7071067811865476))
    else:
        g = tl.full(z.shape, 1., tl.float32)
    return g


@triton.jit
def gate_backward(z, g, grad, GATE: tl.constexpr):
    """Gradient of the logits z through the gate g = G(z); the columns that are no head come masked in grad."""
    if GATE == 'st':
        support = (g > 0).to(tl.float32)
        mean = tl.sum(support * grad, 1) / tl.sum(support, 1)
        d = support * (grad - mean[:, None])
    elif GATE == 'sigmoid':
        d = grad * g * (1 - g)
    elif GATE == 'relu':
        d = tl.where(z > 0, grad, 0.)
    elif GATE == 'gelu':
        normal = 0.3989422804014327 * tl.exp(-0.5 * z * z)
        d = grad * (0.5 * (1 + tl.erf(z * 0.7071067811865476)) + z * normal)
    else:
        d = tl.full(z.shape, 0., tl.float32)
    return d


@triton.jit
def token_addresses(tokens, s_k, s_n, N, K: tl.constexpr, P: tl.constexpr, BK: tl.constexpr, BP: tl.constexpr,
                    VEC: tl.constexpr):
    """Offsets and mask of a tile of (K, N, p); strides in units of VEC, which tells the width of a load."""
    heads, dims = tl.arange(0, BK), tl.arange(0, BP)
    offsets = tokens[:, None, None].to(tl.int64) * (s_n * VEC)
    offsets += heads[None, :, None].to(tl.int64) * (s_k * VEC) + dims[None, None, :]
    inside = (tokens < N)[:, None, None] & (heads < K)[None, :, None] & (dims < P)[None, None, :]
    return offsets, inside


@triton.jit
def score_addresses(tokens, s_k, s_n, N, K: tl.constexpr, BK: tl.constexpr):
    """Offsets and mask of a tile of (K, N)."""
    heads = tl.arange(0, BK)
    offsets = tokens[:, None].to(tl.int64) * s_n + heads[None, :].to(tl.int64) * s_k
    return offsets, (tokens < N)[:, None] & (heads < K)[None, :]


@triton.jit
def statistic_addresses(row, K: tl.constexpr, P: tl.constexpr, BK: tl.constexpr, BP: tl.constexpr):
    """Offsets and mask of one (K, p) of a contiguous (..., K, p)."""
    heads, dims = tl.arange(0, BK), tl.arange(0, BP)
    offsets = row * (K * P) + heads[:, None] * P + dims[None, :]
    return offsets, (heads < K)[:, None] & (dims < P)[None, :]


@triton.jit
def load_moments(A, MASS, b, K: tl.constexpr, P: tl.constexpr, BK: tl.constexpr, BP: tl.constexpr):
    """M, (BK, BP), and 1 / (P + 1e-8), (BK, 1), of one image; M is zero outside the heads and dims."""
    heads = tl.arange(0, BK)
    offsets, inside = statistic_addresses(b, K, P, BK, BP)
    mass = tl.load(MASS + b * K + heads, mask=heads < K, other=1.)[:, None] + 1e-8
    return tl.load(A + offsets, mask=inside, other=0.) / mass, 1 / mass


@triton.jit
def weights(L, b, l_b, l_k, l_n, tokens, N, K: tl.constexpr, BK: tl.constexpr, GATE: tl.constexpr):
    """Logits, membership Pi and gate G of a tile of tokens, (BN, BK) each; Pi is zero where there is none.

    With GATE = 'given', L is Pi itself and G = 1.
    """
    offsets, inside = score_addresses(tokens, l_k, l_n, N, K, BK)
    z = tl.load(L + b * l_b + offsets, mask=inside, other=0.).to(tl.float32)
    if GATE == 'given':
        pi = z
        gate = tl.full(z.shape, 1., tl.float32)
    else:
        pi = tl.where(inside, softmax_heads(z, K, BK), 0.)
        gate = gate_of(z, K, BK, GATE)
    return z, pi, gate


@triton.jit
def output_kernel(S, s_b, s_k, s_n, L, l_b, l_k, l_n, A, MASS, OUT, o_b, o_k, o_n, N, span, splits,
                  K: tl.constexpr, P: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr, BP: tl.constexpr,
                  VEC: tl.constexpr, GATE: tl.constexpr):
    """out = -Pi G S D for a span of the tokens of one image."""
    pid = tl.program_id(0)
    b = (pid // splits).to(tl.int64)
    first = (pid % splits) * span
    m, _ = load_moments(A, MASS, b, K, P, BK, BP)
    d = 1 / (1 + m)
    for start in range(first, tl.minimum(first + span, N), BN):
        tokens = start + tl.arange(0, BN)
        offsets, inside = token_addresses(tokens, s_k, s_n, N, K, P, BK, BP, VEC)
        s = tl.load(S + b * s_b + offsets, mask=inside, other=0.).to(tl.float32)
        _, pi, gate = weights(L, b, l_b, l_k, l_n, tokens, N, K, BK, GATE)
        out = s * d[None, :, :] * -(pi * gate)[:, :, None]
        offsets, inside = token_addresses(tokens, o_k, o_n, N, K, P, BK, BP, VEC)
        tl.store(OUT + b * o_b + offsets, out.to(OUT.dtype.element_ty), mask=inside)


@triton.jit
def slope_kernel(G, g_b, g_k, g_n, S, s_b, s_k, s_n, L, l_b, l_k, l_n, SLOPE, N, span, splits,
                 K: tl.constexpr, P: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr, BP: tl.constexpr,
                 VEC: tl.constexpr, GATE: tl.constexpr):
    """sum_n g Pi G S over a span of the tokens of one image."""
    pid = tl.program_id(0)
    b = (pid // splits).to(tl.int64)
    first = (pid % splits) * span
    slope = tl.zeros((BN, BK, BP), tl.float32)
    for start in range(first, tl.minimum(first + span, N), BN):
        tokens = start + tl.arange(0, BN)
        offsets, inside = token_addresses(tokens, s_k, s_n, N, K, P, BK, BP, VEC)
        s = tl.load(S + b * s_b + offsets, mask=inside, other=0.).to(tl.float32)
        offsets, inside = token_addresses(tokens, g_k, g_n, N, K, P, BK, BP, VEC)
        g = tl.load(G + b * g_b + offsets, mask=inside, other=0.).to(tl.float32)
        _, pi, gate = weights(L, b, l_b, l_k, l_n, tokens, N, K, BK, GATE)
        slope += g * s * (pi * gate)[:, :, None]
    offsets, inside = statistic_addresses(pid.to(tl.int64), K, P, BK, BP)
    tl.store(SLOPE + offsets, tl.sum(slope, 0), mask=inside)


class Plan(NamedTuple):
    """How a kernel covers the tokens.

    Attributes:
        grid (tuple[int]): One program for every image and split.
        span (int): Tokens of a split.
        splits (int): Splits of an image's tokens.
        vec (int): Unit of the strides of vector tensors.
        meta (dict): Compile-time constants and launch options.
    """
    grid: Tuple[int]
    span: int
    splits: int
    vec: int
    meta: dict


def plan(numbers: int, *tensors: Tensor) -> Plan:
    """Cover tensors of (B, K, N, p) with tiles of about so many numbers, enough programs to fill the device."""
    batch, heads, tokens, dims = tensors[0].shape
    bk, bp = triton.next_power_of_2(heads), triton.next_power_of_2(dims)
    bn = max(1, min(numbers // (bk * bp), triton.next_power_of_2(tokens)))
    blocks = triton.cdiv(tokens, bn)
    splits = min(triton.cdiv(wanted_programs(tensors[0].device), batch), triton.cdiv(blocks, 4))
    span = triton.cdiv(blocks, splits) * bn
    splits = triton.cdiv(tokens, span)
    vec = gcd(16, *(t.stride(i) for t in tensors for i in (1, 2)))
    num_warps = min(16, max(4, bn * bk * bp // 1024))
    meta = dict(K=heads, P=dims, BN=bn, BK=bk, BP=bp, VEC=vec, num_warps=num_warps, enable_fp_fusion=True)
    return Plan((batch * splits, ), span, splits, vec, meta)


def wanted_programs(device: torch.device) -> int:
    """Programs that keep a device busy."""
    if device.type != 'cuda':
        return 1
    return PROGRAMS_PER_SM * torch.cuda.get_device_properties(device).multi_processor_count


def rows(x: Tensor) -> Tensor:
    """The tensor itself if its last dimension is contiguous, a copy otherwise."""
    return x if x.stride(-1) == 1 else x.contiguous()


def empty_heads(x: Tensor) -> Tensor:
    """An empty (B, K, N, p) that lies in memory as (B, N, K, p), so that merging the heads is a view."""
    batch, heads, tokens, dims = x.shape
    return torch.empty((batch, tokens, heads, dims), dtype=x.dtype, device=x.device).transpose(1, 2)


def empty_scores(x: Tensor, dtype: torch.dtype) -> Tensor:
    """An empty (B, K, N) that lies in memory as (B, N, K), the order in which the kernels visit it."""
    return torch.empty((x.shape[0], x.shape[2], x.shape[1]), dtype=dtype, device=x.device).transpose(1, 2)


def empty_partials(x: Tensor, splits: int, *shape: int) -> Tensor:
    """Empty partial sums, (B, splits, *shape), float32."""
    return torch.empty((x.shape[0], splits, *shape), dtype=torch.float32, device=x.device)


def merge(partials: Tensor) -> Tensor:
    """Add the partial sums of the splits, (B, splits, ...) -> (B, ...)."""
    return partials.squeeze(1) if partials.shape[1] == 1 else partials.sum(1)


def strided(x: Tensor, vec: int = 1) -> Tuple[Tensor, int, int, int]:
    """A tensor (B, K, N, ...) and its first three strides, the heads' and tokens' in units of ``vec``."""
    return x, x.stride(0), x.stride(1) // vec, x.stride(2) // vec


def output(s: Tensor, scores: Tensor, a: Tensor, mass: Tensor, gate: str) -> Tensor:
    """-Pi G S D, (B, K, N, p), from the moments A, (B, K, p), and the masses P, (B, K)."""
    out = empty_heads(s)
    p = plan(4096, s, out)
    output_kernel[p.grid](*strided(s, p.vec), *strided(scores), a, mass, *strided(out, p.vec), s.shape[2],
                          p.span, p.splits, GATE=gate, **p.meta)
    return out


def slope(grad: Tensor, s: Tensor, scores: Tensor, gate: str) -> Tensor:
    """sum_n g Pi G S, (B, K, p)."""
    p = plan(4096, s, grad)
    partials = empty_partials(s, p.splits, s.shape[1], s.shape[3])
    slope_kernel[p.grid](*strided(grad, p.vec), *strided(s, p.vec), *strided(scores), partials, s.shape[2],
                         p.span, p.splits, GATE=gate, **p.meta)
    return merge(partials)
