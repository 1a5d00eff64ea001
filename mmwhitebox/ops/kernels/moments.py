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
from typing import NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor

from . import launch

TILE_BYTES = 8192
"""Bytes of a tile of one tensor; half of it where a kernel holds three, so that they stay in registers."""

TILES = 4
"""Tiles a program takes, if there are so many: what it reads then outweighs the partial sums it writes."""


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

    Few heads are compared in pairs: z_i is in the support if 1 + c_i z_i > sum of the c_i entries >= z_i.
    Equal entries share c_i and the sum, and pass or fail together, as they do one after the other in the
    sorted form. Pairs of many heads do not fit into registers: there the support shrinks from all heads,
    tau of the support after tau, and is found after at most K rounds.
    """
    z = heads_of(z, float('-inf'), K, BK)
    z = heads_of(z - tl.max(z, 1)[:, None], 0., K, BK)  # largest 0: the projection ignores a shift
    support = heads_of(tl.full(z.shape, 1., tl.float32), 0., K, BK)
    if BK <= 16:
        above = z[:, None, :] >= z[:, :, None]  # [n, i, j]: z_j >= z_i
        above = above & (tl.arange(0, BK) < K)[None, None, :]
        count = tl.sum(above.to(tl.float32), 2)
        total = tl.sum(tl.where(above, z[:, None, :], 0.), 2)
        support *= (1 + count * z > total).to(tl.float32)
    else:
        for _ in range(K - 1):
            bound = (tl.sum(support * z, 1) - 1) / tl.sum(support, 1)
            support *= (z > bound[:, None]).to(tl.float32)
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
    """Gradient of the logits z through the gate g = G(z); grad is zero in the columns that are no head."""
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
def token_addresses(b, tokens, s_b, s_k, s_n, N, K: tl.constexpr, P: tl.constexpr, BK: tl.constexpr,
                    BP: tl.constexpr, VEC: tl.constexpr):
    """Offsets and mask of a tile of (B, K, N, p); strides in units of VEC, the numbers of one load."""
    heads, dims = tl.arange(0, BK), tl.arange(0, BP)
    offsets = b * (s_b * VEC) + tokens[:, None, None].to(tl.int64) * (s_n * VEC)
    offsets += heads[None, :, None].to(tl.int64) * (s_k * VEC) + dims[None, None, :]
    inside = (tokens < N)[:, None, None] & (heads < K)[None, :, None] & (dims < P)[None, None, :]
    return offsets, inside


@triton.jit
def score_addresses(b, tokens, s_b, s_k, s_n, N, K: tl.constexpr, BK: tl.constexpr):
    """Offsets and mask of a tile of (B, K, N)."""
    heads = tl.arange(0, BK)
    offsets = b * s_b + tokens[:, None].to(tl.int64) * s_n + heads[None, :].to(tl.int64) * s_k
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
    offsets, inside = score_addresses(b, tokens, l_b, l_k, l_n, N, K, BK)
    z = tl.load(L + offsets, mask=inside, other=0.).to(tl.float32)
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
    m, per_mass = load_moments(A, MASS, b, K, P, BK, BP)
    d = 1 / (1 + m)
    for start in range(first, tl.minimum(first + span, N), BN):
        tokens = start + tl.arange(0, BN)
        offsets, inside = token_addresses(b, tokens, s_b, s_k, s_n, N, K, P, BK, BP, VEC)
        s = tl.load(S + offsets, mask=inside, other=0.).to(tl.float32)
        z, pi, gate = weights(L, b, l_b, l_k, l_n, tokens, N, K, BK, GATE)
        out = s * d[None, :, :] * -(pi * gate)[:, :, None]
        offsets, inside = token_addresses(b, tokens, o_b, o_k, o_n, N, K, P, BK, BP, VEC)
        tl.store(OUT + offsets, out.to(OUT.dtype.element_ty), mask=inside)


@triton.jit
def slope_kernel(GRAD, g_b, g_k, g_n, S, s_b, s_k, s_n, L, l_b, l_k, l_n, SLOPE, N, span, splits,
                 K: tl.constexpr, P: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr, BP: tl.constexpr,
                 VEC: tl.constexpr, GATE: tl.constexpr):
    """sum_n g Pi G S over a span of the tokens of one image."""
    pid = tl.program_id(0)
    b = (pid // splits).to(tl.int64)
    first = (pid % splits) * span
    slope = tl.zeros((BN, BK, BP), tl.float32)
    for start in range(first, tl.minimum(first + span, N), BN):
        tokens = start + tl.arange(0, BN)
        offsets, inside = token_addresses(b, tokens, s_b, s_k, s_n, N, K, P, BK, BP, VEC)
        s = tl.load(S + offsets, mask=inside, other=0.).to(tl.float32)
        offsets, inside = token_addresses(b, tokens, g_b, g_k, g_n, N, K, P, BK, BP, VEC)
        g = tl.load(GRAD + offsets, mask=inside, other=0.).to(tl.float32)
        z, pi, gate = weights(L, b, l_b, l_k, l_n, tokens, N, K, BK, GATE)
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
    grid: tuple[int]
    span: int
    splits: int
    vec: int
    meta: dict


def plan(*tensors: Tensor) -> Plan:
    """Cover the tensors of (B, K, N, p) that a kernel reads and writes with tiles, several to a program."""
    x, *_ = tensors
    batch, heads, tokens, dims = x.shape
    numbers = TILE_BYTES // x.element_size() // (1 if len(tensors) < 3 else 2)
    bk, bp = launch.block_size(heads, 1), launch.block_size(dims, 1)
    bn = max(1, min(numbers // (bk * bp), launch.block_size(tokens, 1)))
    splits, span = launch.split_tokens(tokens, TILES * bn, batch, x.device)
    vec = gcd(16, *(stride for t in tensors for stride in t.stride()[:3]))
    num_warps = min(16, 4 * max(1, bn * bk * bp // numbers))
    meta = dict(K=heads, P=dims, BN=bn, BK=bk, BP=bp, VEC=vec, num_warps=num_warps, enable_fp_fusion=True)
    return Plan((batch * splits, ), span, splits, vec, meta)


def unsupported(w: Tensor, *others: Tensor) -> str | None:
    """Why tokens (B, K, N, p) and what belongs to them cannot run fused, in a few words; None if they can."""
    heads, dims = w.shape[1], w.shape[3]
    if dims > 128:
        return f'a head has {dims} dimensions, more than 128'
    if launch.block_size(heads, 1) * launch.block_size(dims, 1) > 8192:
        return f'{heads} heads of {dims} dimensions do not fit into registers'
    if w.numel() == 0:
        return 'there are no tokens'
    reasons = (launch.device_reason(w, *others), *map(launch.dtype_reason, (w, *others)))
    return next(filter(None, reasons), None)


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


def strided(x: Tensor, vec: int = 1) -> tuple[Tensor, int, int, int]:
    """A tensor (B, K, N, ...) and its first three strides in units of ``vec``."""
    one, two, three = (stride // vec for stride in x.stride()[:3])
    return x, one, two, three


def output(s: Tensor, scores: Tensor, a: Tensor, mass: Tensor, gate: str) -> Tensor:
    """-Pi G S D, (B, K, N, p), from the moments A, (B, K, p), and the masses P, (B, K)."""
    out = empty_heads(s)
    p = plan(s, out)
    with launch.on_device(s):
        output_kernel[p.grid](*strided(s, p.vec), *strided(scores), a, mass, *strided(out, p.vec), s.shape[2],
                              p.span, p.splits, GATE=gate, **p.meta)
    return out


def slope(grad: Tensor, s: Tensor, scores: Tensor, gate: str) -> Tensor:
    """sum_n g Pi G S, (B, K, p)."""
    p = plan(s, grad)
    vectors = (*strided(grad, p.vec), *strided(s, p.vec))
    partials = empty_partials(s, p.splits, s.shape[1], s.shape[3])
    with launch.on_device(s):
        slope_kernel[p.grid](*vectors, *strided(scores), partials, s.shape[2], p.span, p.splits, GATE=gate,
                             **p.meta)
    return merge(partials)
