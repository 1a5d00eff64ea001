"""Interpolation of token grids whose size may be symbolic, as while a model is exported.

``torch.export`` follows one path through the code, and a rule such as "leave the table alone if the size fits" has no
branch. With symbolic sizes it is written as arithmetic of the sizes; with integers torch's own functions run.
"""
import math

import torch
import torch.nn.functional as F
from torch import Tensor

from .precision import widen


def is_symbolic(*sizes: int) -> bool:
    """Whether a size stands for many: while a model is exported with a dynamic image size."""
    return any(isinstance(size, torch.SymInt) for size in sizes)


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
    grid = F.interpolate(widen(grid), size=tuple(new_shape), mode=mode, align_corners=False)
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
    grid = widen(table[:, num_extra:].unflatten(1, tuple(old_shape)).permute(0, 3, 1, 2))
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
