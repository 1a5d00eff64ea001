"""Pooling and interpolation of token grids whose size may be symbolic, as while a model is exported.

``torch.export`` follows one path through the code. A pool onto a fixed number of bins has no graph for all
sizes, and a rule such as "leave the table alone if the size fits" has no branch. With symbolic sizes both
are written as arithmetic of the sizes; with integers, the eager case, torch's own functions run.
"""
from typing import Tuple

import torch
import torch.nn.functional as F
from torch import Tensor


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
                     old_shape: Tuple[int, int],
                     new_shape: Tuple[int, int],
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
