"""Position tables in checkpoints: the grid they were made for, saved with them or told from their rows."""
import logging
import math
from collections.abc import Sequence

from mmengine.logging import print_log
from torch import nn

KEY = 'grid_size'  # in the meta data that a state dict has for every module


def save_grid_size(module: nn.Module, state_dict: dict, prefix: str, local_metadata: dict) -> None:
    """State-dict hook: note the grid (H, W) of a module's table, ``module.grid_size``, beside its weights."""
    local_metadata[KEY] = tuple(map(int, module.grid_size))


def told_grid(rows: int, num_extra: int, own_grid: Sequence[int],
              saved: Sequence[int] | None = None) -> tuple[int, int, int] | None:
    """The grid of a table in a checkpoint.

    Args:
        rows (int): Rows of the table, those of extra tokens (class, register, ...) included.
        num_extra (int): Extra tokens of the model.
        own_grid (Sequence[int]): The model's own grid (H, W).
        saved (Sequence[int], optional): The grid that was saved with the table, if any.

    Returns:
        tuple[int, int, int] | None: Extra tokens and grid (E, H, W). Without a saved grid the model's own tokens,
        else one, before a square, else before a grid of the model's own aspect (**reading**); None if there is none.
    """
    if saved is not None and rows >= math.prod(saved):
        h, w = saved
        return rows - h * w, h, w
    h, w = own_grid
    for extra in dict.fromkeys((num_extra, 1)):
        side = math.isqrt(max(rows - extra, 0))
        if side and side**2 == rows - extra:
            height = math.isqrt((rows - extra) * h // w)
            if (h, w) != (side, side) and height != side and height * w % h == 0 and \
                    height * height * w == (rows - extra) * h:
                print_log(
                    f'A position table of {rows} rows without its grid is taken for {side} x {side}; {height} x '
                    f'{height * w // h}, the aspect of this model, would fit too. If it was that, load the table '
                    'into a model of that img_size and save it anew.', 'current', logging.WARNING)
            return extra, side, side
    for extra in dict.fromkeys((num_extra, 1)):
        height = math.isqrt(max(rows - extra, 0) * h // w)
        if height and height * w % h == 0 and height * (height * w // h) == rows - extra:
            return extra, height, height * w // h
    return None


def no_grid(key: str, rows: int) -> str:
    """What to say of a table whose grid cannot be told."""
    return (f'{key}: the checkpoint\'s {rows} rows are no square grid and none of this model\'s aspect, so they cannot '
            'be resized: set img_size to the one that they were made for.')
