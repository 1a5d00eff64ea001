"""Adaptive average pools of token grids, whose size may be symbolic, as while a model is exported.

``torch.export`` follows one path through the code, and a pool onto a fixed number of bins has no graph for all sizes.
With symbolic sizes, and in the naive form, a pool is a product with a matrix for each axis; with integers torch's own
functions run.
"""
import math

import torch
import torch.nn.functional as F
from torch import Tensor

from .autograd import FirstOrder, first_order
from .dispatch import is_naive, is_written_out
from .precision import no_autocast, wide_dtype, widen
from .resampling import is_symbolic


def averaging_matrix(size: int, bins: int, like: Tensor) -> Tensor:
    """The adaptive average pool of an axis as a matrix: row i averages [floor(i S/g), ceil((i+1) S/g)).

    Args:
        size (int): Length S of the axis, symbolic or not.
        bins (int): Length g of the pooled axis.
        like (Tensor): A tensor of the wanted dtype and device.

    Returns:
        Tensor: (g, S), rows summing to one.
    """
    i = torch.arange(bins, device=like.device)[:, None]
    start, stop = i * size // bins, ((i + 1) * size + bins - 1) // bins
    j = torch.arange(size, device=like.device)
    inside = ((start <= j) & (j < stop)).to(like.dtype)
    return inside / (stop - start).to(like.dtype)


def along_axes(rows: Tensor, columns: Tensor, grid: Tensor) -> Tensor:
    """Multiply the rows of a token grid by one matrix and the columns by another: (B, H, W, C) -> (B, H', W', C)."""
    return columns @ (rows @ grid.flatten(2)).unflatten(2, grid.shape[2:])


class _Pool(FirstOrder):
    """The pool of a token sequence. The gradient is written once, into one tensor for all tokens."""

    name = 'pool_representatives'

    @staticmethod
    def forward(tokens: Tensor, start: int, hw_shape: tuple[int, int], bins: int) -> Tensor:
        patches = tokens.narrow(1, start, math.prod(hw_shape)).unflatten(1, hw_shape)  # (B, H, W, C)
        grid = patches.permute(0, 3, 1, 2)
        whole = len(grid) == 1 or grid.is_contiguous(memory_format=torch.channels_last)
        if whole or tokens.dtype != wide_dtype(tokens):
            pooled = F.adaptive_avg_pool2d(grid, bins).permute(0, 2, 3, 1)
        else:  # other tokens between the grids of two images: torch's pool would copy them all first; it rounds once
            h, w = hw_shape
            pooled = along_axes(averaging_matrix(h, bins, tokens), averaging_matrix(w, bins, tokens), patches)
        return pooled.flatten(1, 2)

    @staticmethod
    def setup_context(ctx, inputs, output) -> None:
        tokens, ctx.start, ctx.hw_shape, ctx.bins = inputs
        ctx.shape = tokens.shape

    @staticmethod
    @first_order
    def backward(ctx, saved, grad: Tensor) -> tuple[Tensor | None, ...]:
        (batch, n, c), (h, w) = ctx.shape, ctx.hw_shape
        rows, columns = (averaging_matrix(size, ctx.bins, grad).mT for size in (h, w))
        spread = columns @ grad.unflatten(1, (ctx.bins, ctx.bins))  # (B, g, W, C)
        if torch.compiler.is_compiling():
            return F.pad((rows @ spread.flatten(2)).reshape(batch, h * w, c),
                         (0, 0, ctx.start, n - h * w - ctx.start)), None, None, None
        out = grad.new_empty(batch, n, c)
        before, grid, after = out.split([ctx.start, h * w, n - h * w - ctx.start], 1)
        before.zero_()
        after.zero_()
        torch.bmm(rows.expand(batch, -1, -1), spread.flatten(2), out=grid.unflatten(1, (h, w)).flatten(2))
        return out, None, None, None


def pool_grid(tokens: Tensor, start: int, hw_shape: tuple[int, int], bins: int, impl: str = 'auto') -> Tensor:
    """Adaptive average pool of a grid that lies in a sequence of tokens, without a copy of the grid.

    Equal to ``F.adaptive_avg_pool2d`` of the grid, also for one smaller than the pool, whose windows then
    repeat tokens.

    Args:
        tokens (Tensor): (B, N, C).
        start (int): Index of the first token of the grid; the others follow, row major.
        hw_shape (tuple[int, int]): Grid (H, W), symbolic or not.
        bins (int): g.
        impl (str): The form, see :mod:`mmwhitebox.ops.dispatch`. Defaults to 'auto'.

    Returns:
        Tensor: (B, g*g, C).
    """
    if not is_naive(impl) and not is_symbolic(*tokens.shape, *hw_shape):
        return _Pool.call(tokens, start, tuple(hw_shape), bins)
    grid = tokens[:, start:start + hw_shape[0] * hw_shape[1]].unflatten(1, hw_shape).permute(0, 3, 1, 2)
    return adaptive_avg_pool(grid, bins, impl).flatten(2).transpose(1, 2)


def adaptive_avg_pool(grid: Tensor, bins: int, impl: str = 'auto') -> Tensor:
    """Adaptive average pool onto a square: ``F.adaptive_avg_pool2d`` for any, also a symbolic, size.

    Args:
        grid (Tensor): (B, C, H, W).
        bins (int): g.
        impl (str): The form, see :mod:`mmwhitebox.ops.dispatch`. Defaults to 'auto'.

    Returns:
        Tensor: (B, C, g, g).
    """
    h, w = grid.shape[2:]
    if not is_written_out(impl) and not is_symbolic(h, w):
        return F.adaptive_avg_pool2d(grid, bins)
    wide = widen(grid)
    with no_autocast(grid):
        return (averaging_matrix(h, bins, wide) @ wide @ averaging_matrix(w, bins, wide).mT).to(grid.dtype)


def pool_representatives(w: Tensor,
                         hw_shape: tuple[int, int],
                         pool_size: int,
                         num_heads: int,
                         pool_tokens: str = 'patch',
                         impl: str = 'auto') -> Tensor:
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
        impl (str): The form, see :mod:`mmwhitebox.ops.dispatch`. Defaults to 'auto'.

    Returns:
        Tensor: R0, (B, K, m, p).
    """
    start = 0 if pool_tokens == 'official' else w.shape[1] - hw_shape[0] * hw_shape[1]
    pooled = pool_grid(w, start, hw_shape, pool_size, impl)  # (B, m, K*p)
    return pooled.unflatten(-1, (num_heads, -1)).transpose(1, 2)
