r"""Fused kernels of CBSA, forward: W is read twice, the output is written once, A never leaves the chip.

    extract    A = softmax_tokens(s R0 W^T), AW        tokens split over programs, online softmax in each
    merge      the splits into AW and lse = log sum_tokens exp(s R0 W^T)
    contract   R = R0 + step_rep AW;  C = softmax(s R R^T) R  or  C = R;  C' = step_x C
    broadcast  out = A^T C'  with  A = exp(s R0 W^T - lse), recomputed block by block

Softmax is taken in base 2 (scale = s log2 e) and lse is its logarithm in base 2. Statistics, sums and accumulators
are float32; the operands of a product have the type of W. A coefficient is about 1 / N, which float16 holds badly:
products take ``gain`` A, and ``gain``, a power of two near N^{1/2}, is divided out of their float32 result.

One program holds r (M x P), its accumulator (M x P) and a block of scores (M x BLOCK); M, P are m, p rounded up to
powers of two. What that takes on the chip is in :func:`stream_config`.
"""
import math

import torch
import triton
import triton.language as tl
from torch import Tensor

from ..kernels.launch import INTERPRETED, block_size, dot_precision, on_device, split_tokens, unit_last_stride

LOG2_E = 1.4426950408889634
MERGE_SPLITS, MERGE_ELEMENTS = 16, 256


WIDEN = tl.constexpr(INTERPRETED)
"""Triton's interpreter has no product of bfloat16: there operands become float32, which changes no value."""


@triton.jit
def dot(a, b, acc, PRECISION: tl.constexpr):
    """acc + a b in float32."""
    if WIDEN:
        return tl.dot(a.to(tl.float32), b.to(tl.float32), acc, input_precision='ieee')
    return tl.dot(a, b, acc, input_precision=PRECISION)


@triton.jit
def head_offset(bk, heads, stride_b, stride_k, ALIGN: tl.constexpr):
    """Offset of head bk % heads of image bk // heads; ALIGN divides the strides and the compiler may know it."""
    b = (bk // heads).to(tl.int64)
    k = (bk % heads).to(tl.int64)
    return b * (stride_b // ALIGN * ALIGN) + k * (stride_k // ALIGN * ALIGN)


@triton.jit
def tile_offset(index, m, p, ALIGN: tl.constexpr):
    """Offset of the ``index``-th of many contiguous (m, p) matrices."""
    return tl.cast(index, tl.int64) * m * (p // ALIGN * ALIGN)


@triton.jit
def load_rows(x, start, rows, p, stride, ROWS: tl.constexpr, P: tl.constexpr, ALIGN: tl.constexpr):
    """Rows [start, start + ROWS) of a matrix of ``rows`` rows and p columns, zeros outside: (ROWS, P)."""
    i = tl.arange(0, ROWS)
    j = tl.arange(0, P)
    stride = stride // ALIGN * ALIGN
    x += tl.cast(start, tl.int64) * stride
    inside = (i[:, None] < rows - start) & (j[None, :] < p // ALIGN * ALIGN)
    return tl.load(x + i[:, None] * stride + j[None, :], mask=inside, other=0.)


@triton.jit
def store_rows(x, value, start, rows, p, stride, ROWS: tl.constexpr, P: tl.constexpr, ALIGN: tl.constexpr):
    """Write (ROWS, P) to rows [start, start + ROWS) of a matrix, as far as it has them."""
    i = tl.arange(0, ROWS)
    j = tl.arange(0, P)
    stride = stride // ALIGN * ALIGN
    x += tl.cast(start, tl.int64) * stride
    inside = (i[:, None] < rows - start) & (j[None, :] < p // ALIGN * ALIGN)
    tl.store(x + i[:, None] * stride + j[None, :], value.to(x.dtype.element_ty), mask=inside)


@triton.jit
def extract_kernel(w, r0, top, total, aw, w_sb, w_sk, w_sn, r_sb, r_sk, r_sm, heads, n, m, p, splits, per_split,
                   scale, M: tl.constexpr, P: tl.constexpr, BLOCK: tl.constexpr, ALIGN: tl.constexpr,
                   WHOLE: tl.constexpr, PRECISION: tl.constexpr):
    """Of the tokens of one split: row maxima, sums and E W, each (m) or (m, p); WHOLE: lse and AW at once."""
    pid = tl.program_id(0)
    bk = pid // splits
    w += head_offset(bk, heads, w_sb, w_sk, ALIGN)
    r0 += head_offset(bk, heads, r_sb, r_sk, ALIGN)
    r = load_rows(r0, 0, m, p, r_sm, M, P, ALIGN)
    row = tl.arange(0, M)
    row_top = tl.full((M, ), float('-inf'), tl.float32)
    row_sum = tl.zeros((M, ), tl.float32)
    acc = tl.zeros((M, P), tl.float32)
    first = (pid % splits) * per_split
    for start in range(first, tl.minimum(first + per_split, n), BLOCK):
        x = load_rows(w, start, n, p, w_sn, BLOCK, P, ALIGN)
        scores = dot(r, tl.trans(x), None, PRECISION) * scale  # (M, BLOCK)
        scores = tl.where(start + tl.arange(0, BLOCK)[None, :] < n, scores, float('-inf'))
        new_top = tl.maximum(row_top, tl.max(scores, 1))
        e = tl.exp2(scores - new_top[:, None])
        shrink = tl.exp2(row_top - new_top)
        row_sum = row_sum * shrink + tl.sum(e, 1)
        acc = dot(e.to(x.dtype), x, acc * shrink[:, None], PRECISION)
        row_top = new_top
    at = tl.cast(pid, tl.int64) * m
    if WHOLE:
        acc = acc / row_sum[:, None]
        row_top += tl.log2(row_sum)
    else:
        tl.store(total + at + row, row_sum, mask=row < m)
    tl.store(top + at + row, row_top, mask=row < m)
    store_rows(aw + tile_offset(pid, m, p, ALIGN), acc, 0, m, p, p, M, P, ALIGN)


@triton.jit
def merge_kernel(top, total, parts, lse, aw, splits, m, p, chunks, SPLITS: tl.constexpr, ELEMENTS: tl.constexpr):
    """Merge the splits of the softmax: lse (m) and AW (m, p); a program takes ELEMENTS of AW."""
    pid = tl.program_id(0)
    bk = tl.cast(pid // chunks, tl.int64)
    element = (pid % chunks) * ELEMENTS + tl.arange(0, ELEMENTS)
    inside = element < m * p
    row = element // p
    top += bk * splits * m
    total += bk * splits * m
    parts += bk * splits * m * p
    best = tl.full((ELEMENTS, ), float('-inf'), tl.float32)
    for start in range(0, splits, SPLITS):
        split = start + tl.arange(0, SPLITS)
        here = (split[:, None] < splits) & inside[None, :]
        tops = tl.load(top + split[:, None] * m + row[None, :], mask=here, other=float('-inf'))
        best = tl.maximum(best, tl.max(tops, 0))
    best = tl.where(inside, best, 0.)
    row_sum = tl.zeros((ELEMENTS, ), tl.float32)
    acc = tl.zeros((ELEMENTS, ), tl.float32)
    for start in range(0, splits, SPLITS):
        split = start + tl.arange(0, SPLITS)
        here = (split[:, None] < splits) & inside[None, :]
        tops = tl.load(top + split[:, None] * m + row[None, :], mask=here, other=float('-inf'))
        weight = tl.exp2(tops - best[None, :])
        sums = tl.load(total + split[:, None] * m + row[None, :], mask=here, other=0.)
        part = tl.load(parts + split[:, None] * (m * p) + element[None, :], mask=here, other=0.)
        row_sum += tl.sum(weight * sums, 0)
        acc += tl.sum(weight * part, 0)
    row_sum = tl.where(inside, row_sum, 1.)
    tl.store(aw + bk * m * p + element, acc / row_sum, mask=inside)
    tl.store(lse + bk * m + row, best + tl.log2(row_sum), mask=inside & (element % p == 0))


@triton.jit
def representatives(r0, aw, step_rep, bk, heads, m, p, r_sb, r_sk, r_sm, M: tl.constexpr, P: tl.constexpr,
                    ALIGN: tl.constexpr):
    """R = R0 + step_rep AW of one head, (M, P), float32."""
    step = tl.load(step_rep + bk % heads).to(tl.float32)
    r = load_rows(r0 + head_offset(bk, heads, r_sb, r_sk, ALIGN), 0, m, p, r_sm, M, P, ALIGN).to(tl.float32)
    extracted = load_rows(aw + tile_offset(bk, m, p, ALIGN), 0, m, p, p, M, P, ALIGN)
    return r + step * extracted


@triton.jit
def row_softmax(r, m, scale, M: tl.constexpr, PRECISION: tl.constexpr):
    """softmax(s R R^T) over the m representatives, (M, M)."""
    scores = dot(r, tl.trans(r), None, PRECISION) * scale
    scores = tl.where(tl.arange(0, M)[None, :] < m, scores, float('-inf'))
    e = tl.exp2(scores - tl.max(scores, 1)[:, None])
    return e / tl.sum(e, 1)[:, None]


@triton.jit
def contract_kernel(r0, aw, step_rep, step_x, cx, r_sb, r_sk, r_sm, heads, m, p, scale, M: tl.constexpr,
                    P: tl.constexpr, ALIGN: tl.constexpr, CONTRACT: tl.constexpr, PRECISION: tl.constexpr):
    """C' = step_x C of one head, (m, p)."""
    bk = tl.program_id(0)
    c = representatives(r0, aw, step_rep, bk, heads, m, p, r_sb, r_sk, r_sm, M, P, ALIGN)
    if CONTRACT:
        r = c.to(cx.dtype.element_ty)
        weights = row_softmax(r, m, scale, M, PRECISION)
        c = dot(weights.to(r.dtype), r, None, PRECISION)
    c *= tl.load(step_x + bk % heads).to(tl.float32)
    store_rows(cx + tile_offset(bk, m, p, ALIGN), c, 0, m, p, p, M, P, ALIGN)


@triton.jit
def coefficients(x, r, lse, start, n, scale, BLOCK: tl.constexpr, PRECISION: tl.constexpr):
    """gain A of a block of tokens, (M, BLOCK), zero beyond n; ``lse`` is less log2(gain), and infinite beyond m."""
    scores = dot(r, tl.trans(x), None, PRECISION) * scale
    return tl.where(start + tl.arange(0, BLOCK)[None, :] < n, tl.exp2(scores - lse[:, None]), 0.)


@triton.jit
def load_lse(lse, bk, m, log_gain, M: tl.constexpr):
    row = tl.arange(0, M)
    return tl.load(lse + tl.cast(bk, tl.int64) * m + row, mask=row < m, other=float('inf')) - log_gain


@triton.jit
def broadcast_kernel(w, r0, lse, cx, out, w_sb, w_sk, w_sn, r_sb, r_sk, r_sm, o_sb, o_sk, o_sn, heads, n, m, p,
                     splits, per_split, scale, log_gain, M: tl.constexpr, P: tl.constexpr, BLOCK: tl.constexpr,
                     ALIGN: tl.constexpr, PRECISION: tl.constexpr):
    """out = A^T C' for the tokens of one split, (n, p)."""
    pid = tl.program_id(0)
    bk = pid // splits
    w += head_offset(bk, heads, w_sb, w_sk, ALIGN)
    r0 += head_offset(bk, heads, r_sb, r_sk, ALIGN)
    out += head_offset(bk, heads, o_sb, o_sk, ALIGN)
    r = load_rows(r0, 0, m, p, r_sm, M, P, ALIGN)
    c = load_rows(cx + tile_offset(bk, m, p, ALIGN), 0, m, p, p, M, P, ALIGN)
    row_lse = load_lse(lse, bk, m, log_gain, M)
    no_gain = tl.exp2(-log_gain)
    first = (pid % splits) * per_split
    for start in range(first, tl.minimum(first + per_split, n), BLOCK):
        x = load_rows(w, start, n, p, w_sn, BLOCK, P, ALIGN)
        a = tl.exp2(dot(x, tl.trans(r), None, PRECISION) * scale - row_lse[None, :])  # gain A^T, (BLOCK, M)
        y = dot(a.to(x.dtype), c, None, PRECISION) * no_gain
        store_rows(out, y, start, n, p, o_sn, BLOCK, P, ALIGN)


def is_wide(m: int, p: int) -> bool:
    """Whether a tile of representatives is larger than 64 x 64."""
    return max(m, p) > 64


def stream_config(m: int, p: int, dtype: torch.dtype) -> dict[str, int]:
    """Shape of the kernels that run over the tokens, but the last of the backward pass.

    As compiled for compute capability 9.0, without spills: registers of a thread and shared memory of a program are
    at most 124 and 40 KB for m, p <= 64 in 16 bits, 248 and 96 KB for m, p <= 128 in 16 bits. In float32 with
    m, p <= 64 extract and gather take 174 and 52 KB, broadcast 255, 68 KB and 20 bytes of spills.
    """
    if dtype == torch.float32:
        return dict(BLOCK=32, num_warps=4, num_stages=2)
    return dict(BLOCK=64, num_warps=8 if is_wide(m, p) else 4, num_stages=2)


def contract_config(m: int, p: int, dtype: torch.dtype) -> dict[str, int]:
    """Shape of the kernels that work on the representatives of one head, a program each: some may spill."""
    return dict(num_warps=8 if is_wide(m, p) or dtype == torch.float32 else 4, num_stages=1)


def common_alignment(p: int, *tensors: Tensor) -> int:
    """Largest power of two up to 16 that divides p and every stride but the last: rows can be read in such pieces."""
    return math.gcd(16, p, *(stride for t in tensors for stride in t.stride()[:-1]))


def log2_gain(n: int) -> float:
    """log2 of the power of two near N^{1/2} that lifts the coefficients."""
    return float((n.bit_length() - 1) // 2)


def forward(w: Tensor, r0: Tensor, step_rep: Tensor, step_x: Tensor, contract: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Launch the forward kernels.

    Args:
        w (Tensor): W, (B, K, N, p).
        r0 (Tensor): R0, (B, K, m, p), of the type of W.
        step_rep (Tensor): (K, 1, 1), any floating type.
        step_x (Tensor): (K, 1, 1), any floating type.
        contract (bool): Whether C = softmax(s R R^T) R, or C = R.

    Returns:
        tuple[Tensor, Tensor, Tensor]: The output, laid out as W, (B, K, N, p); AW, (B, K, m, p), and lse in base 2,
        (B, K, m), both float32, which are all that backward needs besides the inputs.
    """
    w, r0 = unit_last_stride(w), unit_last_stride(r0)
    (batch, heads, n, p), m = w.shape, r0.shape[2]
    programs, device = batch * heads, w.device
    out = torch.empty_like(w)
    aw = torch.empty(batch, heads, m, p, dtype=torch.float32, device=device)
    lse = torch.empty(batch, heads, m, dtype=torch.float32, device=device)
    cx = torch.empty(batch, heads, m, p, dtype=w.dtype, device=device)
    align = common_alignment(p, w, r0, out)
    shape = dict(M=block_size(m), P=block_size(p), ALIGN=align, PRECISION=dot_precision(w.dtype))
    config = stream_config(m, p, w.dtype)
    splits, per_split = split_tokens(n, config['BLOCK'], programs, device)
    scale = LOG2_E * p**-0.5
    w_strides, r_strides = w.stride()[:3], r0.stride()[:3]
    with on_device(w):
        if splits == 1:
            top, total, parts = lse, lse, aw
        else:
            top, total = torch.empty(2, programs, splits, m, dtype=torch.float32, device=device)
            parts = torch.empty(programs, splits, m, p, dtype=torch.float32, device=device)
        extract_kernel[(programs * splits, )](w, r0, top, total, parts, *w_strides, *r_strides, heads, n, m, p, splits,
                                              per_split, scale, WHOLE=splits == 1, **shape, **config)
        if splits > 1:
            chunks = -(-m * p // MERGE_ELEMENTS)
            merge_kernel[(programs * chunks, )](top, total, parts, lse, aw, splits, m, p, chunks, SPLITS=MERGE_SPLITS,
                                                ELEMENTS=MERGE_ELEMENTS, num_warps=4)
        contract_kernel[(programs, )](r0, aw, step_rep.reshape(-1).contiguous(), step_x.reshape(-1).contiguous(), cx,
                                      *r_strides, heads, m, p, scale, CONTRACT=contract, **shape,
                                      **contract_config(m, p, w.dtype))
        broadcast_kernel[(programs * splits, )](w, r0, lse, cx, out, *w_strides, *r_strides, *out.stride()[:3], heads,
                                                n, m, p, splits, per_split, scale, log2_gain(n), **shape, **config)
    return out, aw, lse
