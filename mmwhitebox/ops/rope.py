r"""2-D axial rotary position embedding (RoFormer, applied to each axis of the patch grid).

    (x_2i, x_2i+1) -> rotation by (position * theta^{-i / (D/4)}) (x_2i, x_2i+1)

The first half of the D features turns with the row of the token, the second half with its column.
"""
from typing import Tuple

import torch
from torch import Tensor


def rotate_pairs(x: Tensor, angles: Tensor) -> Tensor:
    """Rotate consecutive pairs of features.

    Args:
        x (Tensor): Features, (..., 2*F).
        angles (Tensor): Angles, broadcastable to (..., F).

    Returns:
        Tensor: Rotated features, (..., 2*F).
    """
    even, odd = x.unflatten(-1, (-1, 2)).unbind(-1)
    cos, sin = angles.cos(), angles.sin()
    return torch.stack([even * cos - odd * sin, even * sin + odd * cos], dim=-1).flatten(-2)


def rope_2d(x: Tensor, hw_shape: Tuple[int, int], theta: float = 10000.) -> Tensor:
    """Rotate the patch tokens by their place in the grid; extra tokens stay as they are.

    Args:
        x (Tensor): Tokens, (B, N, D), N = E + H*W with the E extra tokens first, D divisible by 4.
        hw_shape (tuple[int, int]): Grid (H, W) of the patch tokens.
        theta (float): Base of the frequencies. Defaults to 10000.

    Returns:
        Tensor: Tokens of the same shape and dtype.
    """
    h, w = hw_shape
    num_extra, features = x.shape[1] - h * w, x.shape[2] // 4
    wide = torch.promote_types(x.dtype, torch.float32)
    exponents = torch.arange(features, dtype=wide, device=x.device) / features
    frequencies = theta**-exponents  # (D/4,)
    rows = torch.arange(h, dtype=wide, device=x.device)[:, None, None] * frequencies  # (H, 1, D/4)
    columns = torch.arange(w, dtype=wide, device=x.device)[:, None] * frequencies  # (W, D/4)
    by_row, by_column = x[:, num_extra:].unflatten(1, hw_shape).chunk(2, dim=-1)  # (B, H, W, D/2) each
    patches = torch.cat([rotate_pairs(by_row, rows), rotate_pairs(by_column, columns)], dim=-1)
    return torch.cat([x[:, :num_extra], patches.flatten(1, 2).to(x.dtype)], dim=1)
