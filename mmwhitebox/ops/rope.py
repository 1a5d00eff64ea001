r"""2-D axial rotary position embedding (RoFormer, applied to each axis of the patch grid).

    (x_2i, x_2i+1) -> rotation by (position * theta^{-i / (D/4)}) (x_2i, x_2i+1)

The first half of the D features turns with the row of the token, the second half with its column. With the
quarter turn J(x)_2i = -x_2i+1, J(x)_2i+1 = x_2i, all pairs turn at once:

    rope(x) = cos * x + sin * J(x)
"""
from typing import Tuple

import torch
import torch.nn.functional as F
from torch import Tensor


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
    wide = torch.promote_types(x.dtype, torch.float32)
    exponents = torch.arange(x.shape[2] // 4, dtype=wide, device=x.device) / (x.shape[2] // 4)
    frequencies = theta**-exponents  # (D/4,)
    rows = torch.arange(h, dtype=wide, device=x.device)[:, None] * frequencies  # (H, D/4)
    columns = torch.arange(w, dtype=wide, device=x.device)[:, None] * frequencies  # (W, D/4)
    angles = torch.cat([rows[:, None].expand(-1, w, -1), columns.expand(h, -1, -1)], dim=-1)  # (H, W, D/2)
    angles = F.pad(angles.flatten(0, 1), (0, 0, x.shape[1] - h * w, 0))  # (N, D/2): no turn of extra tokens
    angles = angles.repeat_interleave(2, dim=-1)  # (N, D)
    even, odd = x.unflatten(-1, (-1, 2)).unbind(-1)
    quarter_turn = torch.stack([-odd, even], dim=-1).flatten(-2)
    return torch.addcmul(x * angles.cos(), quarter_turn, angles.sin()).to(x.dtype)
