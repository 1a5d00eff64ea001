"""TimmViT: any timm vision transformer as an encoder."""
import difflib
import math
from collections.abc import Sequence
from functools import partial
from typing import Any

import timm
import torch
from mmengine.model import BaseModule
from timm.layers import resample_abs_pos_embed
from torch import Tensor, nn

from mmwhitebox.former_names import warn_former
from mmwhitebox.models.position_tables import KEY as GRID_KEY
from mmwhitebox.models.position_tables import no_grid, save_grid_size, told_grid
from mmwhitebox.models.sizes import check_choices, check_sizes, whole_patches
from mmwhitebox.ops.resampling import POSITION_RULES, fit_positions
from mmwhitebox.registry import MODELS

from .timm_weights import file_img_size, load_timm_weights
from .vit_adaptation import ADAPTATIONS, adapt, run_adapted

OUT_TYPES = ('featmap', 'cls_token')
OLD_ATTENTIONS = dict(cbsa='agent', linear='relu_linear', softmax=None)


def extra_tokens(vit: nn.Module) -> list[Tensor]:
    """Class and distillation token, (1, 1, D) each, as far as the ViT has them."""
    tokens = [getattr(vit, name, None) for name in ('cls_token', 'dist_token')]
    return [token for token in tokens if token is not None]


def add_positions(vit: nn.Module, rule: str, x: Tensor) -> Tensor:
    """Extra tokens and positions, the table fitted to the grid by a rule of ours in the place of timm's.

    Args:
        vit (nn.Module): timm VisionTransformer with a class token, perhaps a distillation token, and a
            learned position table for them and the patches.
        rule (str): See :func:`mmwhitebox.ops.resampling.fit_positions`.
        x (Tensor): Patch embeddings, (B, H, W, D).

    Returns:
        Tensor: Tokens, (B, E + H*W, D), E = 1 or 2.
    """
    b, h, w, _ = x.shape
    positions = fit_positions(vit.pos_embed, vit.patch_embed.grid_size, (h, w), rule, vit.num_prefix_tokens)
    extra = [token.expand(b, -1, -1) for token in extra_tokens(vit)]
    return vit.pos_drop(torch.cat([*extra, x.flatten(1, 2)], dim=1) + positions)


@MODELS.register_module()
class TimmViT(BaseModule):
    """A timm ViT (AugReg, DeiT, DINOv2, DINOv3, EVA, ...) that returns feature maps or class tokens.

    Any image size and aspect: positions are interpolated to the grid, images are zero-padded at the
    right and the bottom to whole patches; feature maps have no class and register tokens. The attention
    can be exchanged for one of linear cost that keeps the weights, see
    :mod:`mmwhitebox.models.backbones.vit_adaptation`.

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
        interpolate_mode (str): Rule by which positions are fitted to another grid, of an image and of
            pretrained weights: 'bicubic' is timm's (antialiased), 'bilinear' that of the published Segmenter,
            DEPICT and CBT segmentation code, 'dino' that of DINO, CRATE and CBT, see
            :func:`mmwhitebox.ops.resampling.fit_positions`. Defaults to 'bicubic'.
        norm_eps (float, optional): eps of all LayerNorms. Defaults to the model's own (1e-6 for timm's
            ViTs; the published segmentation code uses 1e-5).
        out_type (str): 'featmap', or 'cls_token' as mmpretrain's classifiers take it.
            Defaults to 'featmap'.
        attention (str, optional): None is timm's own; 'agent', 'agent_contraction' and 'relu_linear' adapt it, if it
            is an ordinary one (AugReg, DeiT, DINOv2, ...). Defaults to None.
        pool_size (int): Side of the pool of 'agent'. Defaults to 8.
        pool_tokens (str): 'patch', or 'official' for the window of the published code, of 'agent'.
            Defaults to 'patch'.
        model_kwargs (dict, optional): More arguments for ``timm.create_model``, e.g.
            ``dict(embed_dim=192, depth=4, num_heads=3, patch_size=8)``.
        init_cfg (dict, optional): mmengine's initialisation config. Defaults to None.

    Raises:
        ValueError: Unknown model name (similar ones are listed), a model that is no plain ViT,
            ``out_indices`` out of range; an ``attention``, ``out_type`` or ``interpolate_mode`` that is
            unknown or does not apply to the model.
        CheckpointError: ``pretrained`` is a path that does not exist, a file of another model, or weights that
            cannot be downloaded; when they are loaded.

    A checkpoint of the same model with more blocks, or with positions for another grid, loads: what is not built is
    left out, positions are resized.
    """

    def __init__(self,
                 model_name: str,
                 img_size: int | tuple[int, int] | None = None,
                 pretrained: bool | str = False,
                 in_channels: int = 3,
                 out_indices: Sequence[int] = (-1, ),
                 drop_path_rate: float = 0.,
                 frozen_stages: int = -1,
                 with_cp: bool = False,
                 interpolate_mode: str = 'bicubic',
                 norm_eps: float | None = None,
                 out_type: str = 'featmap',
                 attention: str | None = None,
                 pool_size: int = 8,
                 pool_tokens: str = 'patch',
                 model_kwargs: dict | None = None,
                 init_cfg: dict | None = None) -> None:
        super().__init__(init_cfg)
        if attention in OLD_ATTENTIONS:
            attention, former = OLD_ATTENTIONS[attention], attention
            warn_former(f'TimmViT attention={former!r} is attention={attention!r} now.')
        check_sizes(self, img_size=img_size, in_channels=in_channels, pool_size=pool_size)
        check_choices(self, interpolate_mode=(interpolate_mode, POSITION_RULES), out_type=(out_type, OUT_TYPES),
                      attention=(attention, (None, *ADAPTATIONS)))
        self.model_name = model_name
        self.pretrained = pretrained
        self.out_indices = list(out_indices)
        self.frozen_stages = frozen_stages
        self.with_cp = with_cp
        self.out_type = out_type
        self.attention = attention
        self.interpolate_mode = interpolate_mode
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
        self.embed_dims: int = self.vit.embed_dim
        self.in_channels = in_channels
        self.num_extra_tokens = self.vit.num_prefix_tokens
        self.patch_size = self.vit.patch_embed.patch_size
        if interpolate_mode != 'bicubic':
            if (self.num_extra_tokens != len(extra_tokens(self.vit)) or self.vit.pos_embed is None
                    or self.vit.no_embed_class):
                raise ValueError(f'TimmViT: interpolate_mode={interpolate_mode!r} does not apply to {model_name}, '
                                 'whose positions are not one table for a class token and patches.')
            self.vit._pos_embed = partial(add_positions, self.vit, interpolate_mode)
        if out_type == 'cls_token' and getattr(self.vit, 'cls_token', None) is None:
            raise ValueError(f"TimmViT: {model_name} has no class token, so out_type is 'featmap'.")
        if attention is not None:
            pool = dict(pool_size=pool_size, pool_tokens=pool_tokens) if attention != 'relu_linear' else {}
            adapt(self.vit, attention, **pool)
        self.vit.set_grad_checkpointing(with_cp)
        self.register_load_state_dict_pre_hook(self._fit_checkpoint)
        if self.vit.pos_embed is not None:
            self.register_state_dict_post_hook(save_grid_size)
        self._freeze_stages()

    @property
    def grid_size(self) -> tuple[int, int]:
        """Patch grid (H, W) that the position table is made for."""
        patch_embed: Any = self.vit.patch_embed
        return patch_embed.grid_size

    @property
    def out_channels(self) -> tuple[int, ...]:
        """Channels of every output."""
        return (self.embed_dims, ) * len(self.out_indices)

    @staticmethod
    def _fit_checkpoint(self, state_dict: dict, prefix: str, local_metadata: dict, strict: bool, missing: list,
                        unexpected: list, errors: list) -> None:
        """Leave out the blocks that are not built here, and resize the position table as the model itself does."""
        for i in range(len(self.vit.blocks), self.num_blocks):
            for key in [key for key in state_dict if key.startswith(f'{prefix}vit.blocks.{i}.')]:
                del state_dict[key]
        own, key, saved = self.vit.pos_embed, f'{prefix}vit.pos_embed', local_metadata.get(GRID_KEY)
        table = state_dict.get(key)
        if own is None or table is None or table.dim() != 3 or (table.shape == own.shape and
                                                                saved in (None, tuple(self.grid_size))):
            return
        num_extra = 0 if self.vit.no_embed_class else self.num_extra_tokens
        told = told_grid(table.shape[1], num_extra, self.grid_size, saved)
        if told is None:
            errors.append(no_grid(key, table.shape[1]))
        elif told[0] == num_extra:
            state_dict[key] = resample_abs_pos_embed(table, self.grid_size, told[1:], num_extra) \
                if self.interpolate_mode == 'bicubic' else fit_positions(
                    table, told[1:], self.grid_size, self.interpolate_mode, num_extra)

    def get_layer_depth(self, param_name: str, prefix: str = '') -> tuple[int, int]:
        """Depth of a parameter for layer-wise learning-rate decay, as in mmpretrain.

        Args:
            param_name (str): Name of the parameter.
            prefix (str): Prefix of this backbone's parameters. Defaults to ''.

        Returns:
            tuple[int, int]: The depth (0 embeddings and tokens, i + 1 block i, the last everything after the blocks)
            and the number of depths.
        """
        num_depths = self.num_blocks + 2
        name = param_name.removeprefix(f'{prefix}vit.')
        if not param_name.startswith(f'{prefix}vit.') or name.startswith(('norm.', 'fc_norm.')):
            return num_depths - 1, num_depths
        return int(name.split('.')[1]) + 1 if name.startswith('blocks.') else 0, num_depths

    def _create_vit(self, **pretrained_args) -> nn.Module:
        if not timm.is_model(self.model_name):
            known = timm.list_models('*vit*') + timm.list_models('*deit*') + timm.list_models('eva*')
            similar = difflib.get_close_matches(self.model_name, known, n=8, cutoff=0.3)
            raise ValueError(f'TimmViT: timm has no model {self.model_name!r}. Similar: '
                             f'{", ".join(similar)}. All: timm.list_models("*vit*").')
        try:
            vit = timm.create_model(self.model_name, **{**self.create_args, **pretrained_args})
        except TypeError as error:
            raise ValueError(f'TimmViT: {self.model_name} cannot be built as a plain ViT of any image '
                             f'size ({error}).') from error
        if not hasattr(vit, 'prune_intermediate_layers') or not hasattr(vit, 'num_prefix_tokens'):
            raise ValueError(f'TimmViT: {self.model_name} is a {type(vit).__name__}, not a plain ViT.')
        if not isinstance(getattr(vit, 'fc_norm', nn.Identity()), nn.Identity):
            vit.norm, vit.fc_norm = vit.fc_norm, nn.Identity()  # the only final norm of pooled models
        self.num_blocks = len(vit.blocks)
        try:  # the indices of the pruned model, where the last block is another one
            self.out_indices = sorted(set(
                vit.prune_intermediate_layers(self.out_indices, prune_norm=False, prune_head=True)))
        except (AssertionError, ValueError) as error:
            raise ValueError(f'TimmViT: out_indices={self.out_indices} do not fit {self.model_name} with '
                             f'{len(vit.blocks)} blocks.') from error
        return vit

    def init_weights(self) -> None:
        """Load the pretrained weights, if there are any to load."""
        super().init_weights()
        if self.pretrained is False:
            return
        size = {}
        if self.interpolate_mode != 'bicubic':  # at the size of the weights: timm would resize them by its rule
            size['img_size'] = None if self.pretrained is True else file_img_size(
                'TimmViT', self.pretrained, self.num_extra_tokens, self.patch_size)
        weights = load_timm_weights('TimmViT', self.model_name, self.pretrained, partial(self._create_vit, **size))
        if size and 'pos_embed' in weights:
            side = math.isqrt(weights['pos_embed'].shape[1] - self.num_extra_tokens)
            weights['pos_embed'] = fit_positions(weights['pos_embed'], (side, side), self.vit.patch_embed.grid_size,
                                                 self.interpolate_mode, self.num_extra_tokens)
        self.vit.load_state_dict({**self.vit.state_dict(), **weights})

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

    def covered_size(self, size: tuple[int, int]) -> tuple[int, int]:
        """Pixels (height, width) that the feature maps of images of ``size`` cover: whole patches."""
        return whole_patches(size, self.patch_size)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Features.

        Args:
            x (Tensor): Images, (B, in_channels, H, W) in pixels.

        Returns:
            tuple[Tensor]: One tensor per ``out_indices``, in the order of the blocks: a feature map
            (B, embed_dims, ceil(H / patch), ceil(W / patch)), or the class token (B, embed_dims).
        """
        with_cls_token = self.out_type == 'cls_token'
        if self.attention is not None:
            outs, hw_shape = run_adapted(self.vit, x, self.out_indices, self.with_cp)
            if with_cls_token:
                return tuple(out[:, 0] for out in outs)
            return tuple(
                out[:, self.num_extra_tokens:].transpose(1, 2).unflatten(2, hw_shape) for out in outs)
        outs = self.vit.forward_intermediates(
            x, indices=self.out_indices, norm=True, output_fmt='NCHW', intermediates_only=True,
            return_prefix_tokens=with_cls_token)
        return tuple(extra[:, 0] for _, extra in outs) if with_cls_token else tuple(outs)
