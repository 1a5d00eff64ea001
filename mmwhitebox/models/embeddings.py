"""From an image to tokens: patch stems and position encodings, chosen by config."""
import math
from abc import ABC, abstractmethod

import torch
import torch.nn.functional as F
from mmcv.cnn import build_norm_layer
from mmpretrain.models.utils import build_2d_sincos_position_embedding
from torch import Tensor, nn

from mmwhitebox.errors import ImageSizeError
from mmwhitebox.models.sizes import check_choices, check_sizes
from mmwhitebox.ops.resampling import POSITION_RULES, fit_positions
from mmwhitebox.registry import EMBEDDINGS

from .position_tables import KEY as GRID_KEY
from .position_tables import no_grid, save_grid_size, told_grid


class BaseStem(nn.Module, ABC):
    """Base of the patch stems: (B, C, H, W) -> tokens (B, ceil(H/P) * ceil(W/P), D), row major.

    Args:
        patch_size (int): P.
    """

    def __init__(self, patch_size: int) -> None:
        super().__init__()
        check_sizes(self, patch_size=patch_size)
        self.patch_size = patch_size

    def grid_size(self, height: int, width: int) -> tuple[int, int]:
        """Patch grid of an image; an ImageSizeError if the image is smaller than one patch."""
        p = self.patch_size
        if height < p or width < p:
            raise ImageSizeError(f'{type(self).__name__}: an image of {height} x {width} pixels is smaller than '
                                 f'one patch of {p} x {p}.')
        return (height + p - 1) // p, (width + p - 1) // p  # in ONNX a negative number is not rounded down

    def pad_to_patches(self, x: Tensor, hw_shape: tuple[int, int]) -> Tensor:
        """Zeros at the right and the bottom until the image is hw_shape whole patches."""
        h, w = hw_shape
        return F.pad(x, (0, w * self.patch_size - x.shape[3], 0, h * self.patch_size - x.shape[2]))

    def forward(self, x: Tensor) -> tuple[Tensor, tuple[int, int]]:
        """Tokens, (B, H*W, D), and their grid (H, W)."""
        hw_shape = self.grid_size(*x.shape[2:])
        return self.embed(x, hw_shape), hw_shape

    @abstractmethod
    def embed(self, x: Tensor, hw_shape: tuple[int, int]) -> Tensor:
        """Tokens, (B, H*W, D), of images (B, C, height, width)."""


@EMBEDDINGS.register_module()
class ConvStem(BaseStem):
    """3x3 stride-2 convolutions with normalisation, GELU between them (XCiT, ToST, CBT).

    Patch 16 takes four convolutions of D/8, D/4, D/2 and D channels, patch 8 three of D/4, D/2 and D.
    An image that is no multiple of the patch needs no padding: each convolution rounds up.

    Args:
        embed_dims (int): Token width D.
        patch_size (int): A power of two. Defaults to 16.
        in_channels (int): Image channels. Defaults to 3.
        norm_cfg (dict): Norm of the convolutions; on several GPUs, ``sync_bn`` of the config makes it SyncBN.
            Defaults to BatchNorm.

    Raises:
        ValueError: If the patch size is no power of two, or D is not divisible by half of it.
    """

    def __init__(self,
                 embed_dims: int,
                 patch_size: int = 16,
                 in_channels: int = 3,
                 norm_cfg: dict = dict(type='BN')) -> None:
        super().__init__(patch_size)
        if patch_size < 2 or patch_size & (patch_size - 1):
            raise ValueError(f'ConvStem: patch_size must be a power of two, got {patch_size}.')
        if embed_dims % (patch_size // 2):
            raise ValueError(f'ConvStem: embed_dims ({embed_dims}) must be divisible by {patch_size // 2} '
                             f'for patch_size={patch_size}.')
        num_convs = int(math.log2(patch_size))
        widths = [in_channels] + [embed_dims // 2**i for i in reversed(range(num_convs))]
        stages = []
        for i, (c_in, c_out) in enumerate(zip(widths, widths[1:])):
            conv = nn.Conv2d(c_in, c_out, 3, stride=2, padding=1, bias=False)
            norm = build_norm_layer(norm_cfg, c_out)[1]
            stages.append(nn.Sequential(conv, norm, nn.GELU() if i < num_convs - 1 else nn.Identity()))
        self.stages = nn.Sequential(*stages)

    def embed(self, x: Tensor, hw_shape: tuple[int, int]) -> Tensor:
        x = x.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2)  # channels last: as the tokens are read
        return self.stages(x).flatten(2).transpose(1, 2)


@EMBEDDINGS.register_module()
class LinearStem(BaseStem):
    """LayerNorm - Linear - LayerNorm on flattened patches (CRATE).

    A patch is flattened as (row, column, channel), the channel fastest. Images that are no multiple of
    the patch are zero-padded at the right and the bottom.

    Args:
        embed_dims (int): Token width D.
        patch_size (int): P. Defaults to 16.
        in_channels (int): Image channels. Defaults to 3.
        norm_cfg (dict): Both norms. Defaults to LayerNorm with eps 1e-5.
    """

    def __init__(self,
                 embed_dims: int,
                 patch_size: int = 16,
                 in_channels: int = 3,
                 norm_cfg: dict = dict(type='LN', eps=1e-5)) -> None:
        super().__init__(patch_size)
        patch_dims = in_channels * patch_size**2
        self.norm1 = build_norm_layer(norm_cfg, patch_dims)[1]
        self.proj = nn.Linear(patch_dims, embed_dims)
        self.norm2 = build_norm_layer(norm_cfg, embed_dims)[1]

    def embed(self, x: Tensor, hw_shape: tuple[int, int]) -> Tensor:
        p, (h, w) = self.patch_size, hw_shape
        x = self.pad_to_patches(x, hw_shape).unflatten(3, (w, p)).unflatten(2, (h, p))  # (B, C, H, P, W, P)
        patches = x.permute(0, 2, 4, 3, 5, 1).flatten(3).flatten(1, 2)  # (B, H*W, P*P*C)
        return self.norm2(self.proj(self.norm1(patches)))


@EMBEDDINGS.register_module()
class PatchConv(BaseStem):
    """One convolution with kernel and stride P (ViT).

    Images that are no multiple of the patch are zero-padded at the right and the bottom.

    Args:
        embed_dims (int): Token width D.
        patch_size (int): P. Defaults to 16.
        in_channels (int): Image channels. Defaults to 3.
    """

    def __init__(self, embed_dims: int, patch_size: int = 16, in_channels: int = 3) -> None:
        super().__init__(patch_size)
        self.proj = nn.Conv2d(in_channels, embed_dims, patch_size, stride=patch_size)

    def embed(self, x: Tensor, hw_shape: tuple[int, int]) -> Tensor:
        return self.proj(self.pad_to_patches(x, hw_shape)).flatten(2).transpose(1, 2)


@EMBEDDINGS.register_module()
class LearnedPositions(nn.Module):
    """A learned table, one row per extra token and patch, interpolated to other grids.

    A table in a checkpoint that was made for another grid is interpolated when it is loaded, see
    :func:`.position_tables.told_grid`; one that holds a class token which this model lacks is cut.

    Args:
        embed_dims (int): Token width D.
        grid_size (tuple[int, int]): Grid (H, W) of the table.
        num_extra_tokens (int): Number of extra tokens E. Defaults to 1.
        init_std (float): Standard deviation of the initial table, normal. Defaults to 0.02.
        interpolate_mode (str): The rule for other grids: 'bicubic', 'bilinear' or 'dino', see
            :func:`mmwhitebox.ops.resampling.fit_positions`. Defaults to 'bicubic'.
    """

    def __init__(self,
                 embed_dims: int,
                 grid_size: tuple[int, int],
                 num_extra_tokens: int = 1,
                 init_std: float = 0.02,
                 interpolate_mode: str = 'bicubic') -> None:
        super().__init__()
        check_choices(self, interpolate_mode=(interpolate_mode, POSITION_RULES))
        self.grid_size = grid_size
        self.num_extra_tokens = num_extra_tokens
        self.interpolate_mode = interpolate_mode
        self.table = nn.Parameter(
            init_std * torch.randn(1, num_extra_tokens + math.prod(grid_size), embed_dims))
        self.register_load_state_dict_pre_hook(self._fit_table)
        self.register_state_dict_post_hook(save_grid_size)

    @staticmethod
    def _fit_table(self, state_dict: dict, prefix: str, local_metadata: dict, strict: bool, missing: list,
                   unexpected: list, errors: list) -> None:
        table, saved = state_dict.get(f'{prefix}table'), local_metadata.get(GRID_KEY)
        if table is None or table.dim() != 3 or (table.shape == self.table.shape and
                                                 saved in (None, tuple(self.grid_size))):
            return
        told = told_grid(table.shape[1], self.num_extra_tokens, self.grid_size, saved)
        if told is None:
            errors.append(no_grid(f'{prefix}table', table.shape[1]))
        elif told[0] >= self.num_extra_tokens:
            state_dict[f'{prefix}table'] = fit_positions(
                table[:, told[0] - self.num_extra_tokens:], told[1:], self.grid_size, self.interpolate_mode,
                self.num_extra_tokens)

    def forward(self, hw_shape: tuple[int, int]) -> Tensor:
        """Positions of the extra tokens and of an H x W grid, (1, E + H*W, D)."""
        return fit_positions(
            self.table, self.grid_size, hw_shape, self.interpolate_mode, self.num_extra_tokens)


@EMBEDDINGS.register_module()
class FourierPositions(nn.Module):
    """Sines and cosines of the row and the column, mapped to D by a Linear (XCiT, ToST).

    Any grid has the same range of angles: rows are 2 pi (1..H) / H, columns 2 pi (1..W) / W. Extra tokens
    have no position.

    Args:
        embed_dims (int): Token width D.
        num_extra_tokens (int): Number of extra tokens E. Defaults to 0.
        hidden_dims (int): Features of each axis; even. Defaults to 32.
        temperature (float): Base of the frequencies. Defaults to 10000.
    """

    def __init__(self,
                 embed_dims: int,
                 num_extra_tokens: int = 0,
                 hidden_dims: int = 32,
                 temperature: float = 10000.) -> None:
        super().__init__()
        self.num_extra_tokens = num_extra_tokens
        self.hidden_dims = hidden_dims
        self.temperature = temperature
        self.proj = nn.Linear(2 * hidden_dims, embed_dims)

    def init_weights(self) -> None:
        """Start the projection as torch does, whatever the encoder's ``init_cfg`` makes of its other Linear layers.

        The released code has a 1 x 1 convolution here, which its initialisation of Linear layers passes over.
        """
        self.proj.reset_parameters()

    def axis_features(self, length: int) -> Tensor:
        """Interleaved sines and cosines of one axis, (length, hidden_dims)."""
        args = dict(dtype=torch.promote_types(self.proj.weight.dtype, torch.float32),
                    device=self.proj.weight.device)
        positions = torch.arange(1, length + 1, **args) / (length + 1e-6) * (2 * math.pi)
        exponents = torch.arange(self.hidden_dims // 2, **args) * (2 / self.hidden_dims)
        angles = positions[:, None] / self.temperature**exponents
        return torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(1)

    def forward(self, hw_shape: tuple[int, int]) -> Tensor:
        """Positions of the extra tokens (zero) and of an H x W grid, (1, E + H*W, D)."""
        h, w = hw_shape
        rows = self.axis_features(h)[:, None].expand(-1, w, -1)
        columns = self.axis_features(w).expand(h, -1, -1)
        features = torch.cat([rows, columns], dim=-1).flatten(0, 1).to(self.proj.weight.dtype)
        return F.pad(self.proj(features), (0, 0, self.num_extra_tokens, 0)).unsqueeze(0)


@EMBEDDINGS.register_module()
class SinCosPositions(nn.Module):
    """Fixed sines and cosines of the column and the row of a patch (MAE, CRATE-MAE); extra tokens get zero.

        [sin(x omega), cos(x omega), sin(y omega), cos(y omega)],   omega_i = 10000^(-4 i / D),   i < D/4

    Nothing is learned or saved. For another grid the same formula gives its rows and columns (**reading**); nothing is
    interpolated.

    Args:
        embed_dims (int): Token width D, a multiple of 4.
        grid_size (tuple[int, int]): Grid (H, W) that is computed once.
        num_extra_tokens (int): Number of extra tokens E. Defaults to 1.

    Raises:
        ValueError: D is no multiple of 4.
    """

    def __init__(self, embed_dims: int, grid_size: tuple[int, int], num_extra_tokens: int = 1) -> None:
        super().__init__()
        if embed_dims % 4:
            raise ValueError(f'SinCosPositions: embed_dims ({embed_dims}) must be a multiple of 4.')
        self.embed_dims = embed_dims
        self.grid_size = tuple(grid_size)
        self.num_extra_tokens = num_extra_tokens
        self.register_buffer('table', self._positions(self.grid_size), persistent=False)
        self.table: Tensor

    def _positions(self, hw_shape: tuple[int, int]) -> Tensor:
        by_columns = build_2d_sincos_position_embedding(hw_shape, self.embed_dims)  # (1, W*H, D)
        table = by_columns.unflatten(1, tuple(hw_shape)[::-1]).transpose(1, 2).flatten(1, 2)
        return F.pad(table, (0, 0, self.num_extra_tokens, 0))

    def forward(self, hw_shape: tuple[int, int]) -> Tensor:
        """Positions of the extra tokens (zero) and of an H x W grid, (1, E + H*W, D)."""
        return self.table if tuple(hw_shape) == self.grid_size else self._positions(hw_shape).to(self.table)
