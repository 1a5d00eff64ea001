r"""Fused kernels of CBSA, backward: W and the gradient of the output are read twice, dW is written once.

With C' = step_x C, and A recomputed from the saved lse wherever it is needed:

    gather      dC'  = A dOut                                        sum over tokens, split
    contract    R, P = softmax(s R R^T), C = P R again;  dC = step_x dC',  dstep_x = <C, dC'>
                dP   = dC R^T,  dG = P (dP - rowsum(P dP))            rowsum(P dP) = rowsum(C dC)
                dR   = P^T dC + s (dG + dG^T) R                       or dR = dC where C = R
                dstep_rep = <dR, AW>
    tokens      dA   = C' dOut^T + step_rep dR W^T
                dS   = s A (dA - delta)                              delta = rowsum(A dA)
                dW   = A^T (step_rep dR) + dS^T R0
                dR0  = dR + dS W                                     sum over tokens, split

delta needs no pass over the tokens: rowsum(A dA) = rowsum(C' dC') + step_rep rowsum(dR AW). There are no atomics: the
sums over splits are taken in one order, and a repeated run gives the same numbers.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from ..kernels.launch import block_size, capability, dot_precision, on_device, split_tokens, unit_last_stride
from .triton_forward import (
    LOG2_E,
    MERGE_ELEMENTS,
    MERGE_SPLITS,
    coefficients,
    common_alignment,
    contract_config,
    dot,
    head_offset,
    is_wide,
    load_lse,
    load_rows,
    log2_gain,
    representatives,
    row_softmax,
    store_rows,
    stream_config,
    tile_offset,
)


@triton.jit
def gather_kernel(w, r0, lse, dout, parts, w_sb, w_sk, w_sn, r_sb, r_sk, r_sm, d_sb, d_sk, d_sn, heads, n, m, p, splits,
                  per_split, scale, log_gain, M: tl.constexpr, P: tl.constexpr, BLOCK: tl.constexpr,
                  ALIGN: tl.constexpr, PRECISION: tl.constexpr):
    """dC' = A dOut over the tokens of one split, (m, p)."""
    pid = tl.program_id(0)
    bk = pid // splits
    w += head_offset(bk, heads, w_sb, w_sk, ALIGN)
    r0 += head_offset(bk, heads, r_sb, r_sk, ALIGN)
    dout += head_offset(bk, heads, d_sb, d_sk, ALIGN)
    r = load_rows(r0, 0, m, p, r_sm, M, P, ALIGN)
    row_lse = load_lse(lse, bk, m, log_gain, M)
    acc = tl.zeros((M, P), tl.float32)
    first = (pid % splits) * per_split
    for start in range(first, tl.minimum(first + per_split, n), BLOCK):
        x = load_rows(w, start, n, p, w_sn, BLOCK, P, ALIGN)
        dy = load_rows(dout, start, n, p, d_sn, BLOCK, P, ALIGN)  # zero beyond n
        a = coefficients(x, r, row_lse, start, n, scale, BLOCK, PRECISION)
        acc = dot(a.to(x.dtype), dy, acc, PRECISION)
    store_rows(parts + tile_offset(pid, m, p, ALIGN), acc * tl.exp2(-log_gain), 0, m, p, p, M, P, ALIGN)


@triton.jit
def sum_splits_kernel(parts, base, total, splits, size, chunks, HAS_BASE: tl.constexpr, SPLITS: tl.constexpr,
                      ELEMENTS: tl.constexpr):
    """total = base + sum_splits parts, (size) of each head; a program takes ELEMENTS of it."""
    pid = tl.program_id(0)
    bk = tl.cast(pid // chunks, tl.int64)
    element = (pid % chunks) * ELEMENTS + tl.arange(0, ELEMENTS)
    inside = element < size
    parts += bk * splits * size
    acc = tl.zeros((ELEMENTS, ), tl.float32)
    for start in range(0, splits, SPLITS):
        split = start + tl.arange(0, SPLITS)
        here = (split[:, None] < splits) & inside[None, :]
        acc += tl.sum(tl.load(parts + split[:, None] * size + element[None, :], mask=here, other=0.), 0)
    if HAS_BASE:
        acc += tl.load(base + bk * size + element, mask=inside, other=0.)
    tl.store(total + bk * size + element, acc.to(total.dtype.element_ty), mask=inside)


@triton.jit
def contract_backward_kernel(r0, aw, step_rep, step_x, dcx, cx, dr, step_dr, delta, dstep_rep, dstep_x, r_sb, r_sk,
                             r_sm, heads, m, p, s, scale, M: tl.constexpr, P: tl.constexpr, ALIGN: tl.constexpr,
                             CONTRACT: tl.constexpr, PRECISION: tl.constexpr):
    """From dC' of one head: C', dR, step_rep dR, delta and its share of the step sizes' gradients."""
    bk = tl.program_id(0)
    tile = tile_offset(bk, m, p, ALIGN)
    r = representatives(r0, aw, step_rep, bk, heads, m, p, r_sb, r_sk, r_sm, M, P, ALIGN)
    step = tl.load(step_x + bk % heads).to(tl.float32)
    grad = load_rows(dcx + tile, 0, m, p, p, M, P, ALIGN)  # dC'
    row = tl.arange(0, M)
    if CONTRACT:
        r = r.to(cx.dtype.element_ty)
        weights = row_softmax(r, m, scale, M, PRECISION).to(r.dtype)
        c = dot(weights, r, None, PRECISION)
    else:
        c = r
    tl.store(dstep_x + bk, tl.sum(tl.sum(c * grad, 1), 0))
    store_rows(cx + tile, step * c, 0, m, p, p, M, P, ALIGN)
    grad *= step  # dC
    c_dc = tl.sum(c * grad, 1)
    if CONTRACT:
        dc = grad.to(r.dtype)
        dg = weights.to(tl.float32) * (dot(dc, tl.trans(r), None, PRECISION) - c_dc[:, None])
        dg = (s * dg).to(r.dtype)
        grad = dot(tl.trans(weights), dc, None, PRECISION)
        grad = dot(dg, r, grad, PRECISION)
        grad = dot(tl.trans(dg), r, grad, PRECISION)  # dR
    rep = tl.load(step_rep + bk % heads).to(tl.float32)
    store_rows(dr + tile, grad, 0, m, p, p, M, P, ALIGN)
    store_rows(step_dr + tile, rep * grad, 0, m, p, p, M, P, ALIGN)
    r_dr = tl.sum(grad * load_rows(aw + tile, 0, m, p, p, M, P, ALIGN), 1)
    tl.store(dstep_rep + bk, tl.sum(r_dr, 0))
    tl.store(delta + tl.cast(bk, tl.int64) * m + row, c_dc + rep * r_dr, mask=row < m)


@triton.jit
def tokens_kernel(w, r0, lse, dout, cx, step_dr, delta, dw, parts, w_sb, w_sk, w_sn, r_sb, r_sk, r_sm, d_sb, d_sk, d_sn,
                  o_sb, o_sk, o_sn, heads, n, m, p, splits, per_split, s, scale, log_gain, M: tl.constexpr,
                  P: tl.constexpr, BLOCK: tl.constexpr, ALIGN: tl.constexpr, PRECISION: tl.constexpr):
    """dW of the tokens of one split, (n, p), and their sum dS W, (m, p)."""
    pid = tl.program_id(0)
    bk = pid // splits
    w += head_offset(bk, heads, w_sb, w_sk, ALIGN)
    r0 += head_offset(bk, heads, r_sb, r_sk, ALIGN)
    dout += head_offset(bk, heads, d_sb, d_sk, ALIGN)
    dw += head_offset(bk, heads, o_sb, o_sk, ALIGN)
    tile = tile_offset(bk, m, p, ALIGN)
    r = load_rows(r0, 0, m, p, r_sm, M, P, ALIGN)
    c = load_rows(cx + tile, 0, m, p, p, M, P, ALIGN)
    dr = load_rows(step_dr + tile, 0, m, p, p, M, P, ALIGN)  # step_rep dR
    row = tl.arange(0, M)
    row_lse = load_lse(lse, bk, m, log_gain, M)
    row_delta = s * tl.load(delta + tl.cast(bk, tl.int64) * m + row, mask=row < m, other=0.)
    no_gain = tl.exp2(-log_gain)
    acc = tl.zeros((M, P), tl.float32)
    first = (pid % splits) * per_split
    for start in range(first, tl.minimum(first + per_split, n), BLOCK):
        x = load_rows(w, start, n, p, w_sn, BLOCK, P, ALIGN)
        dy = load_rows(dout, start, n, p, d_sn, BLOCK, P, ALIGN)
        a = coefficients(x, r, row_lse, start, n, scale, BLOCK, PRECISION)  # gain A, (M, BLOCK)
        da = dot(c, tl.trans(dy), None, PRECISION)
        da = dot(dr, tl.trans(x), da, PRECISION)
        ds = (a * (s * da - row_delta[:, None])).to(x.dtype)
        acc = dot(ds, x, acc, PRECISION)
        dx = dot(tl.trans(dr), a.to(x.dtype), None, PRECISION)  # (P, BLOCK)
        dx = dot(tl.trans(r), ds, dx, PRECISION)
        store_rows(dw, tl.trans(dx) * no_gain, start, n, p, o_sn, BLOCK, P, ALIGN)
    store_rows(parts + tile_offset(pid, m, p, ALIGN), acc * no_gain, 0, m, p, p, M, P, ALIGN)


def tokens_config(m: int, p: int, dtype: torch.dtype, device: torch.device) -> dict[str, int]:
    """Shape of :func:`tokens_kernel`; its BLOCK divides that of the other kernels.

    As compiled for compute capability 9.0: 176 registers and 72 KB of shared memory for m, p <= 64 in 16 bits, 245 and
    144 KB for m, p <= 128 in 16 bits, neither with spills; 255, 160 KB and 276 bytes of spills in float32.
    """
    if dtype == torch.float32:
        return dict(BLOCK=32, num_warps=4, num_stages=2)
    if is_wide(m, p):  # two stages would take 192 KB before Hopper
        hopper = device.type != 'cuda' or capability(device.index) >= (9, 0)
        return dict(BLOCK=32, num_warps=8, num_stages=2 if hopper else 1)
    return dict(BLOCK=64, num_warps=4, num_stages=2)


def _sum_splits(parts: Tensor, total: Tensor, splits: int, base: Tensor | None = None) -> None:
    """Sum parts over the splits of each head, (B*K, splits, m, p), into ``total``, with ``base`` added."""
    size, programs = total.shape[-2] * total.shape[-1], total.shape[0] * total.shape[1]
    chunks = -(-size // MERGE_ELEMENTS)
    sum_splits_kernel[(programs * chunks, )](parts, base, total, splits, size, chunks, HAS_BASE=base is not None,
                                             SPLITS=MERGE_SPLITS, ELEMENTS=MERGE_ELEMENTS, num_warps=4)


def backward(dout: Tensor, w: Tensor, r0: Tensor, step_rep: Tensor, step_x: Tensor, aw: Tensor, lse: Tensor,
             contract: bool) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Launch the backward kernels.

    Args:
        dout (Tensor): Gradient of the output, (B, K, N, p).
        w, r0, step_rep, step_x, contract: As :func:`~mmwhitebox.ops.cbsa.triton_forward.forward` takes them.
        aw, lse (Tensor): What it returned.

    Returns:
        tuple[Tensor, Tensor, Tensor, Tensor]: Gradients of W (laid out as W), R0, step_rep and step_x.
    """
    dout, w, r0 = unit_last_stride(dout), unit_last_stride(w), unit_last_stride(r0)
    (batch, heads, n, p), m = w.shape, r0.shape[2]
    programs, device = batch * heads, w.device
    dw = torch.empty_like(w)
    cx, step_dr = torch.empty(2, batch, heads, m, p, dtype=w.dtype, device=device)
    dr = torch.empty(batch, heads, m, p, dtype=torch.float32, device=device)
    dr0 = torch.empty(batch, heads, m, p, dtype=r0.dtype, device=device)
    delta = torch.empty(batch, heads, m, dtype=torch.float32, device=device)
    dstep_rep, dstep_x = torch.empty(2, batch, heads, dtype=torch.float32, device=device)
    align = common_alignment(p, dout, w, r0, dw)
    shape = dict(M=block_size(m), P=block_size(p), ALIGN=align, PRECISION=dot_precision(w.dtype))
    config = stream_config(m, p, w.dtype)
    splits, per_split = split_tokens(n, config['BLOCK'], programs, device)
    parts = torch.empty(batch, heads, splits, m, p, dtype=torch.float32, device=device)
    s = p**-0.5
    strides = (*w.stride()[:3], *r0.stride()[:3], *dout.stride()[:3])
    with on_device(w):
        gather_kernel[(programs * splits, )](w, r0, lse, dout, parts, *strides, heads, n, m, p, splits, per_split,
                                             s * LOG2_E, log2_gain(n), **shape, **config)
        dcx = parts
        if splits > 1:
            dcx = torch.empty_like(dr)
            _sum_splits(parts, dcx, splits)
        contract_backward_kernel[(programs, )](r0, aw, step_rep.reshape(-1).contiguous(),
                                               step_x.reshape(-1).contiguous(), dcx, cx, dr, step_dr, delta, dstep_rep,
                                               dstep_x, *r0.stride()[:3], heads, m, p, s, s * LOG2_E, CONTRACT=contract,
                                               **shape, **contract_config(m, p, w.dtype))
        tokens_kernel[(programs * splits, )](w, r0, lse, dout, cx, step_dr, delta, dw, parts, *strides,
                                             *dw.stride()[:3], heads, n, m, p, splits, per_split, s, s * LOG2_E,
                                             log2_gain(n), **shape, **tokens_config(m, p, w.dtype, device))
        _sum_splits(parts, dr0, splits, dr)
    return (dw, dr0, dstep_rep.sum(0).view_as(step_rep).to(step_rep.dtype),
            dstep_x.sum(0).view_as(step_x).to(step_x.dtype))
