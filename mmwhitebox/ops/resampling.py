"""Pooling and interpolation of token grids whose size may be symbolic, as while a model is exported.

``torch.export`` follows one path through the code. A pool onto a fixed number of bins has no graph for all
sizes, and a rule such as "leave the table alone if the size fits" has no branch. With symbolic sizes both
are written as arithmetic of the sizes; with integers, the eager case, torch's own functions run.
"""
import math

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from .function import call


def is_symbolic(*sizes: int) -> bool:
    """Whether a size stands for many: while a model is exported with a dynamic image size."""
    return any(isinstance(size, torch.SymInt) for size in sizes)


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


def periodic_windows(size: int, bins: int) -> tuple[int, list[tuple[int, int]]]:
    """Windows of an axis in the adaptive average pool: d periods, and (start, length) in each of them.

    Window i is [floor(i S/g), ceil((i+1) S/g)). With d = gcd(S, g) the pattern repeats d times, every S/d
    places and g/d bins: one window if g divides S, four for 14 places and 8 bins.
    """
    periods = math.gcd(size, bins)
    starts = [i * size // bins for i in range(bins // periods)]
    stops = [-(-(i + 1) * size // bins) for i in range(bins // periods)]
    return periods, [(start, stop - start) for start, stop in zip(starts, stops)]


def spread_over_windows(grad: Tensor, out: Tensor, dim: int) -> Tensor:
    """The adjoint of the pool of one dimension, added to ``out``: (..., g, ...) -> (..., S, ...)."""
    periods, windows = periodic_windows(out.shape[dim], grad.shape[dim])
    blocks, bins = out.unflatten(dim, (periods, -1)), grad.unflatten(dim, (periods, -1))
    for i, (start, length) in enumerate(windows):
        blocks.narrow(dim + 1, start, length).add_(bins.narrow(dim + 1, i, 1), alpha=1 / length)
    return out


class _PoolTokens(torch.autograd.Function):
    """The pool of a token sequence. The gradient is written once, into one tensor for all tokens."""

    @staticmethod
    def forward(tokens: Tensor, start: int, hw_shape: tuple[int, int], bins: int) -> Tensor:
        patches = tokens.narrow(1, start, math.prod(hw_shape)).unflatten(1, hw_shape)  # (B, H, W, C)
        grid = patches.permute(0, 3, 1, 2)
        # other tokens between the grids of two images: torch's pool would copy them all first, but not one at a time
        whole = grid.is_contiguous(memory_format=torch.channels_last)
        pooled = torch.cat([F.adaptive_avg_pool2d(part, bins) for part in ([grid] if whole else grid.split(1))])
        return pooled.permute(0, 2, 3, 1).flatten(1, 2)

    @staticmethod
    def setup_context(ctx, inputs, output) -> None:
        tokens, ctx.start, ctx.hw_shape, ctx.bins = inputs
        ctx.shape = tokens.shape

    @staticmethod
    @once_differentiable
    def backward(ctx, grad: Tensor) -> tuple[Tensor | None, ...]:
        batch, n, c = ctx.shape
        h, w = ctx.hw_shape
        columns = spread_over_windows(grad.unflatten(1, (ctx.bins, ctx.bins)),
                                      grad.new_zeros(batch, ctx.bins, w, c), 2)
        out = grad.new_zeros(batch, n, c)
        spread_over_windows(columns, out.narrow(1, ctx.start, h * w).unflatten(1, (h, w)), 1)
        return out, None, None, None


def pool_grid(tokens: Tensor, start: int, hw_shape: tuple[int, int], bins: int) -> Tensor:
    """Adaptive average pool of a grid that lies in a sequence of tokens, without a copy of the grid.

    Equal to ``F.adaptive_avg_pool2d`` of the grid, also for one smaller than the pool, whose windows then
    repeat tokens.

    Args:
        tokens (Tensor): (B, N, C).
        start (int): Index of the first token of the grid; the others follow, row major.
        hw_shape (tuple[int, int]): Grid (H, W), symbolic or not.
        bins (int): g.

    Returns:
        Tensor: (B, g*g, C).
    """
    if not is_symbolic(*tokens.shape, *hw_shape):
        return call(_PoolTokens, tokens, start, tuple(hw_shape), bins)
    grid = tokens[:, start:start + hw_shape[0] * hw_shape[1]].unflatten(1, hw_shape).permute(0, 3, 1, 2)
    return adaptive_avg_pool(grid, bins).flatten(2).transpose(1, 2)


def adaptive_avg_pool(grid: Tensor, bins: int) -> Tensor:
    """Adaptive average pool onto a square: ``F.adaptive_avg_pool2d`` for any, also a symbolic, size.

    Args:
        grid (Tensor): (B, C, H, W).
        bins (int): g.

    Returns:
        Tensor: (B, C, g, g).
    """
    h, w = grid.shape[2:]
    if not is_symbolic(h, w):
        return F.adaptive_avg_pool2d(grid, bins)
    return averaging_matrix(h, bins, grid) @ grid @ averaging_matrix(w, bins, grid).mT


def resize_positions(table: Tensor,
                     old_shape: tuple[int, int],
                     new_shape: tuple[int, int],
                     mode: str = 'bicubic',
                     num_extra: int = 1) -> Tensor:
    """Interpolate a table of position embeddings to another grid; its own grid takes it as it is.

    Args:
        table (Tensor): (1, E + H*W, D), the E extra tokens first.
        old_shape (tuple[int, int]): Grid (H, W) of the table.
        new_shape (tuple[int, int]): Grid (H', W').
        mode (str): 'bicubic' or 'bilinear'. Defaults to 'bicubic'.
        num_extra (int): E; their rows stay as they are. Defaults to 1.

    Returns:
        Tensor: (1, E + H'*W', D).
    """
    if not is_symbolic(*new_shape) and tuple(old_shape) == tuple(new_shape):
        return table
    grid = table[:, num_extra:].unflatten(1, tuple(old_shape)).permute(0, 3, 1, 2)
    grid = F.interpolate(grid.float(), size=tuple(new_shape), mode=mode, align_corners=False)
    return torch.cat([table[:, :num_extra], grid.flatten(2).transpose(1, 2).to(table.dtype)], dim=1)


def bicubic_matrix(old: int, new: int, like: Tensor) -> Tensor:
    """Torch's bicubic interpolation of an axis with a step of old / (new + 0.1) places, as a matrix (new, old).

    Args:
        old (int): Length of the axis.
        new (int): Length after it, symbolic or not.
        like (Tensor): A tensor of the wanted dtype and device.
    """
    step = old / (torch.full((), new, dtype=like.dtype, device=like.device) + 0.1)
    places = (torch.arange(new, device=like.device)[:, None] + 0.5) * step - 0.5
    columns = torch.arange(old, device=like.device)
    matrix = torch.zeros_like(places * columns)
    for tap in (-1, 0, 1, 2):
        neighbours = places.floor() + tap
        d = (places - neighbours).abs()
        near, far = 1.25 * d**3 - 2.25 * d**2 + 1, -0.75 * (d**3 - 5 * d**2 + 8 * d - 4)  # a = -0.75
        weights = near if tap in (0, 1) else far
        matrix = matrix + weights * (neighbours.clamp(0, old - 1) == columns)
    return matrix


def scale_positions(table: Tensor, old_shape: tuple[int, int], new_shape: tuple[int, int], num_extra: int) -> Tensor:
    """Bicubic interpolation of a table with a step of old / (new + 0.1) between two patches."""
    grid = table[:, num_extra:].unflatten(1, tuple(old_shape)).permute(0, 3, 1, 2).float()
    if is_symbolic(*new_shape):  # torch takes no factor that stands for many
        rows, columns = (bicubic_matrix(old, new, grid) for old, new in zip(old_shape, new_shape))
        grid = rows @ grid @ columns.mT
    else:
        factors = [(new + 0.1) / old for new, old in zip(new_shape, old_shape)]
        grid = F.interpolate(grid, scale_factor=factors, mode='bicubic', align_corners=False)
    return torch.cat([table[:, :num_extra], grid.flatten(2).transpose(1, 2).to(table.dtype)], dim=1)


def table_if_equal(table: Tensor, resized: Tensor, num_extra: int, *pairs: tuple[int, int]) -> Tensor:
    """The table as it is if the numbers of each pair are equal, else the resized one, without a branch."""
    patches = torch.arange(resized.shape[1] - num_extra, device=table.device)
    as_it_is = table[:, num_extra + patches % (table.shape[1] - num_extra)]
    equal = [torch.full((1, 1, 1), a, device=table.device) == b for a, b in pairs]
    chosen = torch.where(torch.stack(equal).all(0), as_it_is, resized[:, num_extra:])
    return torch.cat([table[:, :num_extra], chosen], dim=1)


POSITION_RULES = ('bicubic', 'bilinear', 'dino')


def fit_positions(table: Tensor, old_shape: tuple[int, int], new_shape: tuple[int, int], rule: str = 'bicubic',
                  num_extra: int = 1) -> Tensor:
    """Position embeddings of another grid by a rule of :data:`POSITION_RULES`.

    - 'bicubic': interpolation to the size of the grid, as in mmpretrain.
    - 'bilinear': the rule of the published Segmenter, DEPICT and CBT segmentation code: bilinear, and only if the
      COUNT of patches differs; the same count in another aspect ratio takes the table as it is.
    - 'dino': the rule of DINO, which the published CRATE and CBT classification code shares: bicubic by a scale
      factor of (new + 0.1) / old.

    Corners are never aligned, and nothing is smoothed. Arguments and shapes as in :func:`resize_positions`.
    """
    if rule == 'bicubic':
        return resize_positions(table, old_shape, new_shape, rule, num_extra)
    if rule == 'bilinear':
        pairs = [(math.prod(new_shape), math.prod(old_shape))]
    else:
        pairs = list(zip(new_shape, old_shape))
    if not is_symbolic(*new_shape) and all(new == old for new, old in pairs):
        return table
    resized = scale_positions(table, old_shape, new_shape, num_extra) if rule == 'dino' else \
        resize_positions(table, old_shape, new_shape, rule, num_extra)
    return table_if_equal(table, resized, num_extra, *pairs) if is_symbolic(*new_shape) else resized
