"""Long sequences in tiles of tokens that fit the caches of a processor.

A step that makes several passes over the tokens makes them tile by tile: what one pass leaves is still in the caches
when the next one reads it, and no intermediate result is as large as the tokens.
"""
from collections.abc import Callable, Iterator
from itertools import repeat

import torch
from torch import Tensor

from .precision import wide_dtype, wide_product

TILE = 2**18
"""Numbers in a tile for each thread: a megabyte in float32, half of a usual cache of a core."""
LONG = 8
"""Tiles that the tokens fill at least: fewer stay in the caches anyway."""


def tile_of(x: Tensor) -> int | None:
    """Tokens in a tile of x, (B, K, N, p); None for all at once: if they are few, on a GPU, for a compiler."""
    if x.device.type != 'cpu' or torch.compiler.is_compiling() or torch.jit.is_tracing():
        return None
    size = TILE * torch.get_num_threads()
    return None if x.numel() < LONG * size else max(1, size * x.shape[2] // x.numel())


def tiles(tile: int | None, *tensors: Tensor | None) -> Iterator[tuple]:
    """The same tokens of all tensors, (B, K, N) or (B, K, N, p), tile by tile; None of None."""
    if tile is None:
        return iter((tensors, ))
    return zip(*(repeat(None) if x is None else x.split(tile, 2) for x in tensors))


def products(tile: int | None, x: Tensor, y: Tensor) -> Iterator[Tensor]:
    """x * y tile by tile, (B, K, n, p), in float32 or wider and contiguous; all in one memory: use each at once."""
    memory = None
    for x_part, y_part in tiles(tile, x, y):
        if memory is None or memory.shape != x_part.shape:
            memory = wide_product(x_part, y_part)
        elif x_part.dtype == y_part.dtype == memory.dtype:
            torch.mul(x_part, y_part, out=memory)
        else:  # ``out`` would get the product rounded to the narrow type
            memory.copy_(x_part).mul_(y_part)
        yield memory


def joined(parts: list[Tensor]) -> Tensor:
    """Tiles, (B, K, n), put together."""
    return parts[0] if len(parts) == 1 else torch.cat(parts, 2)


def in_tiles(function: Callable[..., Tensor], tile: int | None, like: Tensor, *tensors: Tensor | None) -> Tensor:
    """A function of tokens, of the shape, the order in memory and the type of ``like``, written tile by tile.

    Args:
        function (Callable): ``function(*tensors, out=...)``, in float32 or wider; without ``out`` it makes its result.
        tile (int, optional): From :func:`tile_of`.
        like (Tensor): (B, K, N, p).
        *tensors (Tensor, optional): Its arguments, (B, K, N) or (B, K, N, p).
    """
    if tile is None:
        return function(*tensors, out=None).to(like.dtype)
    result = torch.empty_like(like)
    for to, *parts in tiles(tile, result, *tensors):
        if to.dtype == wide_dtype(to):
            function(*parts, out=to)
        else:
            to.copy_(function(*parts, out=None))
    return result
