r"""2-D axial rotary position embedding (RoFormer, applied to each axis of the patch grid).

    (x_2i, x_2i+1) -> rotation by (position * theta^{-i / (D/4)}) (x_2i, x_2i+1)

The first half of the D features turns with the row of the token, the second half with its column:

    rope(x)_2i   = cos x_2i - sin x_2i+1
    rope(x)_2i+1 = sin x_2i + cos x_2i+1

Pairs are complex numbers x_2i + i x_2i+1 and a rotation is one product with e^{i angle}, in eager mode a single
pass over the tokens; backward is the rotation by -angle. The naive form is the two lines above; so is what
compilers and exporters are given, which fuse passes and know no complex numbers. Sine and cosine are taken of the rows
and of the columns before they are spread over the grid, or a compiler would take them anew for every token.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from .autograd import FirstOrder, first_order
from .dispatch import is_naive
from .precision import wide_dtype, widen

THETA = 10000.
"""Base of the frequencies."""


def axis_angles(size: int, x: Tensor) -> Tensor:
    """Angles along one axis of the grid, (size, D/4)."""
    features, wide = x.shape[2] // 4, wide_dtype(x)
    frequencies = THETA**-(torch.arange(features, dtype=wide, device=x.device) / features)
    return torch.arange(size, dtype=wide, device=x.device)[:, None] * frequencies


def over_tokens(rows: Tensor, columns: Tensor, num_extra: int, extra: float) -> Tensor:
    """A table for all tokens, (N, D/2), from rows, (H, D/4), and columns, (W, D/4); constant for extra ones."""
    h, w = rows.shape[0], columns.shape[0]
    patches = torch.cat([rows[:, None].expand(-1, w, -1), columns.expand(h, -1, -1)], dim=-1)  # (H, W, D/2)
    return F.pad(patches.flatten(0, 1), (0, 0, num_extra, 0), value=extra)


def turn(x: Tensor, hw_shape: tuple[int, int], direction: int) -> Tensor:
    """Turn the pairs of x as complex numbers, forward or, with direction -1, back."""
    h, w = hw_shape
    units = [torch.polar(torch.ones_like(angles), direction * angles)
             for angles in (axis_angles(h, x), axis_angles(w, x))]
    pairs = torch.view_as_complex(widen(x).contiguous().unflatten(-1, (-1, 2)))  # (B, N, D/2)
    turned = pairs * over_tokens(*units, x.shape[1] - h * w, 1.)
    return torch.view_as_real(turned).flatten(-2).to(x.dtype)


class _Rope(FirstOrder):
    """The rotation; nothing is kept, the angles are made again."""

    name = 'rope_2d'

    @staticmethod
    def forward(x: Tensor, hw_shape: tuple[int, int]) -> Tensor:
        return turn(x, hw_shape, 1)

    @staticmethod
    def setup_context(ctx, inputs, output) -> None:
        _, ctx.hw_shape = inputs

    @staticmethod
    @first_order
    def backward(ctx, saved, grad: Tensor) -> tuple[Tensor | None, ...]:
        return turn(grad, ctx.hw_shape, -1), None


def rope_2d(x: Tensor, hw_shape: tuple[int, int], impl: str = 'auto') -> Tensor:
    """Rotate the patch tokens by their place in the grid; extra tokens stay as they are.

    Args:
        x (Tensor): Tokens, (B, N, D), N = E + H*W with the E extra tokens first, D divisible by 4.
        hw_shape (tuple[int, int]): Grid (H, W) of the patch tokens.
        impl (str): The form, see :mod:`mmwhitebox.ops.dispatch`. Defaults to 'auto'.

    Returns:
        Tensor: Tokens of the same shape and dtype.
    """
    if not is_naive(impl) and not torch.compiler.is_compiling():
        return _Rope.call(x, hw_shape)
    h, w = hw_shape
    rows, columns, num_extra = axis_angles(h, x), axis_angles(w, x), x.shape[1] - h * w
    cos = over_tokens(rows.cos(), columns.cos(), num_extra, 1.)  # (N, D/2)
    sin = over_tokens(rows.sin(), columns.sin(), num_extra, 0.)
    even, odd = x.unflatten(-1, (-1, 2)).unbind(-1)
    turned = torch.stack([cos * even - sin * odd, sin * even + cos * odd], dim=-1)
    return turned.flatten(-2).to(x.dtype)
