"""What the shapes of an official state dict tell, with errors that name the key."""
import math
import re

from torch import Tensor

from mmwhitebox.errors import CheckpointError, joined

ImageSize = int | tuple[int, int]


class StateDict:
    """An official state dict as its description reads it: shapes by key, with errors that name the key."""

    def __init__(self, tensors: dict[str, Tensor]) -> None:
        self.tensors = tensors

    def __contains__(self, key: str) -> bool:
        return key in self.tensors

    def shape(self, key: str, dims: int | None = None) -> tuple[int, ...]:
        """Shape of an entry that has to be there, with ``dims`` axes if given."""
        if key not in self.tensors:
            raise CheckpointError(f'The state dict lacks {key}.')
        shape = tuple(self.tensors[key].shape)
        if dims is not None and len(shape) != dims:
            raise CheckpointError(f'{key} has the shape {shape}; {dims} axes were expected.')
        return shape

    def count(self, prefix: str, mark: str = '.') -> int:
        """Number of layers ``PREFIX.0`` to ``PREFIX.n-1``, with ``mark`` before the number; a gap is an error."""
        pattern = re.compile(rf'{re.escape(prefix + mark)}(\d+)[./]')
        found = {int(match[1]) for key in self.tensors if (match := pattern.match(key))}
        missing = sorted(set(range(max(found, default=0) + 1)) - found)
        if missing:
            raise CheckpointError(f'The state dict lacks {joined([f"{prefix}{mark}{i}" for i in missing])}.')
        return len(found)


def square_side(number: int, key: str) -> int:
    """Side of a square of so many pixels."""
    side = math.isqrt(max(number, 0))
    if side == 0 or side**2 != number:
        raise CheckpointError(f'{key} is made for patches of {number} pixels, which is no square.')
    return side


def image_size(num_patches: int, key: str, patch_size: int, given: tuple[int, int] | None) -> ImageSize:
    """Image size of a position table: what is given, as far as it fits, else that of a square grid."""
    if given is not None:
        height, width = given
        if min(given) <= 0 or height % patch_size or width % patch_size:
            raise CheckpointError(f'--img-size {height} {width}: both are multiples of the patch, {patch_size}.')
        if (height // patch_size) * (width // patch_size) != num_patches:
            raise CheckpointError(f'{key} has rows for {num_patches} patches of {patch_size} pixels; --img-size '
                                  f'{height} {width} makes {height // patch_size} x {width // patch_size}.')
        return height if height == width else (height, width)
    side = math.isqrt(max(num_patches, 0))
    if side == 0 or side**2 != num_patches:
        raise CheckpointError(f'{key} has rows for {num_patches} patches, which is no square grid: say for which image '
                              'size it was made (--img-size HEIGHT WIDTH).')
    return side * patch_size


def mlp_ratio(state: StateDict, key: str, dims: int) -> int:
    """Hidden width of an MLP over its width."""
    hidden = state.shape(key, 2)[0]
    if hidden % dims:
        raise CheckpointError(f'{key} has {hidden} rows, which is no multiple of the width {dims}.')
    return hidden // dims


def agreed_heads(told: set, known: int | None, num_heads: int | None, dims: int) -> int:
    """Number of heads: what the shapes tell, else what is given, else that of a known model of this width.

    Raises:
        CheckpointError: Nothing tells, or the shapes tell something else than what is given.
    """
    if len(told) > 1 or (told and num_heads is not None and told != {num_heads}):
        raise CheckpointError(f'The weights have {" and ".join(map(str, sorted(told)))} heads'
                              + ('.' if num_heads is None else f', but num_heads={num_heads} was given.'))
    heads = told.pop() if told else num_heads or known
    if heads is None:
        raise CheckpointError(f'The number of heads is not in the weights, and no known model has the width '
                              f'{dims}: give num_heads (--num-heads).')
    return heads


def head_dims_option(inner: int, heads: int, dims: int, key: str) -> dict:
    """``head_dims`` unless it is the default."""
    if inner % heads:
        raise CheckpointError(f'{key} has {inner} rows, which {heads} heads do not divide.')
    return {} if inner == dims else dict(head_dims=inner // heads)
