"""TimmViT: any timm vision transformer as an encoder with feature maps."""
import difflib
from functools import partial
from pathlib import Path
from typing import Optional, Sequence, Tuple, Union

import timm
import torch
from mmengine.logging import print_log
from mmengine.model import BaseModule
from timm.layers import resample_abs_pos_embed
from torch import Tensor, nn

from mmwhitebox.registry import MODELS

INTERPOLATE_MODES = ('bicubic', 'bilinear')


def add_segmenter_positions(vit: nn.Module, x: Tensor) -> Tensor:
    """Class token and positions by the rule of the Segmenter, DEPICT and CBT segmentation code.

    The table is resized (bilinear, no antialiasing) only when the token COUNT differs; the same count
    in another aspect ratio takes the table as it is.

    Args:
        vit (nn.Module): timm VisionTransformer with a class token and a learned position table.
        x (Tensor): Patch embeddings, (B, H, W, D).

    Returns:
        Tensor: Tokens, (B, 1 + H*W, D).
    """
    b, h, w, _ = x.shape
    positions = vit.pos_embed
    if 1 + h * w != positions.shape[1]:
        positions = resample_abs_pos_embed(
            positions, (h, w), vit.patch_embed.grid_size, interpolation='bilinear', antialias=False)
    tokens = torch.cat([vit.cls_token.expand(b, -1, -1), x.flatten(1, 2)], dim=1)
    return vit.pos_drop(tokens + positions)


@MODELS.register_module()
class TimmViT(BaseModule):
    """A timm ViT (AugReg, DeiT, DINOv2, DINOv3, EVA, ...) that returns feature maps.

    Any image size and aspect: positions are interpolated to the grid, images are zero-padded at the
    right and the bottom to whole patches, class and register tokens are stripped.

    Args:
        model_name (str): A name of ``timm.list_models()``, e.g. 'vit_small_patch16_384'.
        img_size (int | tuple[int, int], optional): Image size in pixels that the position table is made
            for. Defaults to the model's own.
        pretrained (bool | str): True fetches timm's weights; a path takes a timm ``.safetensors``,
            ``.pth`` or AugReg ``.npz``. They are loaded by ``init_weights()``, as everywhere in
            mmengine: when a training starts, not when a trained model is built for testing. Position
            tables are resized and the first convolution is adapted to ``in_channels``.
            Defaults to False.
        in_channels (int): Image channels. Defaults to 3.
        out_indices (Sequence[int]): Blocks whose output is returned, after the final norm; negative
            numbers count from the last. Defaults to (-1, ).
        drop_path_rate (float): Stochastic depth rate of the last block. Defaults to 0.
        frozen_stages (int): -1 trains everything, 0 freezes the embeddings, n freezes n blocks as well.
            Defaults to -1.
        with_cp (bool): Recompute activations in the backward pass to save memory. Defaults to False.
        interpolate_mode (str): 'bicubic' is timm's rule for positions, 'bilinear' the rule of the
            published Segmenter, DEPICT and CBT code, see :func:`add_segmenter_positions`.
            Defaults to 'bicubic'.
        norm_eps (float, optional): eps of all LayerNorms. Defaults to the model's own (1e-6 for timm's
            ViTs; the published segmentation code uses 1e-5).
        model_kwargs (dict, optional): More arguments for ``timm.create_model``, e.g.
            ``dict(embed_dim=192, depth=4, num_heads=3, patch_size=8)``.
        init_cfg (dict, optional): mmengine's initialisation config. Defaults to None.

    Raises:
        ValueError: Unknown model name (similar ones are listed), a model that is no plain ViT,
            ``out_indices`` out of range.
        FileNotFoundError: ``pretrained`` is a path that does not exist.
    """

    def __init__(self,
                 model_name: str,
                 img_size: Union[int, Tuple[int, int], None] = None,
                 pretrained: Union[bool, str] = False,
                 in_channels: int = 3,
                 out_indices: Sequence[int] = (-1, ),
                 drop_path_rate: float = 0.,
                 frozen_stages: int = -1,
                 with_cp: bool = False,
                 interpolate_mode: str = 'bicubic',
                 norm_eps: Optional[float] = None,
                 model_kwargs: Optional[dict] = None,
                 init_cfg: Optional[dict] = None) -> None:
        super().__init__(init_cfg)
        if interpolate_mode not in INTERPOLATE_MODES:
            raise ValueError(f'TimmViT: interpolate_mode must be one of {INTERPOLATE_MODES}, '
                             f'got {interpolate_mode!r}.')
        self.model_name = model_name
        self.pretrained = pretrained
        self.out_indices = list(out_indices)
        self.frozen_stages = frozen_stages
        self.create_args = dict(
            in_chans=in_channels,
            num_classes=0,
            dynamic_img_size=True,
            dynamic_img_pad=True,
            drop_path_rate=drop_path_rate,
            **({} if img_size is None else dict(img_size=img_size)),
            **({} if norm_eps is None else dict(norm_layer=partial(nn.LayerNorm, eps=norm_eps))),
            **(model_kwargs or {}))
        self.vit = self._create_vit()
        self.embed_dims = self.vit.embed_dim
        self.num_extra_tokens = self.vit.num_prefix_tokens
        self.patch_size = self.vit.patch_embed.patch_size
        if interpolate_mode == 'bilinear':
            if self.num_extra_tokens != 1 or self.vit.pos_embed is None or self.vit.no_embed_class:
                raise ValueError(f"TimmViT: interpolate_mode='bilinear' does not apply to {model_name}, "
                                 'whose positions are not one table for a class token and patches.')
            self.vit._pos_embed = partial(add_segmenter_positions, self.vit)
        self.vit.set_grad_checkpointing(with_cp)
        self._freeze_stages()

    def _create_vit(self, **pretrained_args) -> nn.Module:
        if not timm.is_model(self.model_name):
            known = timm.list_models('*vit*') + timm.list_models('*deit*') + timm.list_models('eva*')
            similar = difflib.get_close_matches(self.model_name, known, n=8, cutoff=0.3)
            raise ValueError(f'TimmViT: timm has no model {self.model_name!r}. Similar names: '
                             f'{", ".join(similar)}. All: timm.list_models("*vit*").')
        try:
            vit = timm.create_model(self.model_name, **self.create_args, **pretrained_args)
        except TypeError as error:
            raise ValueError(f'TimmViT: {self.model_name} cannot be built as a plain ViT of any image '
                             f'size ({error}).') from error
        if not hasattr(vit, 'prune_intermediate_layers') or not hasattr(vit, 'num_prefix_tokens'):
            raise ValueError(f'TimmViT: {self.model_name} is a {type(vit).__name__}, not a plain ViT.')
        if not isinstance(getattr(vit, 'fc_norm', nn.Identity()), nn.Identity):
            vit.norm, vit.fc_norm = vit.fc_norm, nn.Identity()  # the only final norm of pooled models
        try:
            vit.prune_intermediate_layers(self.out_indices, prune_norm=False, prune_head=True)
        except (AssertionError, ValueError) as error:
            raise ValueError(f'TimmViT: out_indices={self.out_indices} do not fit {self.model_name} with '
                             f'{len(vit.blocks)} blocks.') from error
        return vit

    def init_weights(self) -> None:
        """Load the pretrained weights, if there are any to load."""
        super().init_weights()
        if self.pretrained is False:
            return
        args = dict(pretrained=True)
        if self.pretrained is not True:
            path = Path(self.pretrained).expanduser()
            if not path.is_file():
                raise FileNotFoundError(f'TimmViT: pretrained={self.pretrained!r} is not a file. Give the '
                                        'path of a timm checkpoint, True to fetch it, or False.')
            args['pretrained_cfg_overlay'] = dict(file=str(path), custom_load=path.suffix == '.npz')
        self.vit.load_state_dict(self._create_vit(**args).state_dict())
        print_log(f'TimmViT: loaded pretrained weights of {self.model_name}', logger='current')

    def _freeze_stages(self) -> None:
        if self.frozen_stages < 0:
            return
        for name, parameter in self.vit.named_parameters():
            if not name.startswith(('blocks.', 'norm.')):
                parameter.requires_grad_(False)
        for block in self.vit.blocks[:self.frozen_stages]:
            block.eval()
            block.requires_grad_(False)

    def train(self, mode: bool = True) -> 'TimmViT':
        """Set the training mode; frozen blocks stay in evaluation mode."""
        super().train(mode)
        self._freeze_stages()
        return self

    def forward(self, x: Tensor) -> Tuple[Tensor, ...]:
        """Feature maps.

        Args:
            x (Tensor): Images, (B, in_channels, H, W) in pixels.

        Returns:
            tuple[Tensor]: One map per ``out_indices``, in the order of the blocks, each
            (B, embed_dims, ceil(H / patch), ceil(W / patch)).
        """
        return tuple(
            self.vit.forward_intermediates(
                x, indices=self.out_indices, norm=True, output_fmt='NCHW', intermediates_only=True))
