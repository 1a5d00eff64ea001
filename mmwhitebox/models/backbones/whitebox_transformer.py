r"""The white-box encoders: CRATE, CRATE-alpha, CRATE-MAE, CBT, its hybrid with CRATE, ToST, DMST; ViT to compare.

Every layer is one step of an objective, compression by the attention, sparsity by ISTA, ODL or an MLP:

    X <- X + Attention(LayerNorm(X))
    X <- ISTA(LayerNorm(X))           (CRATE, CBT: the step replaces the token, no second residual)
    X <- X + ODL(LayerNorm(X))        (CRATE-alpha)
    X <- X + MLP(LayerNorm(X))        (ToST, DMST, ViT)

or of the attention alone (``feedforward=None``: attention-only transformers, AoT).

ToST and DMST scale both updates by a vector (LayerScale) and have no class token until the last layer;
class-attention layers then let it gather the patches.
"""
import math
from collections.abc import Sequence

import torch
from mmcv.cnn import build_norm_layer
from mmpretrain.models.backbones.base_backbone import BaseBackbone
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from mmwhitebox.models.attention import MHSA
from mmwhitebox.models.embeddings import LearnedPositions, PatchConv
from mmwhitebox.models.feedforward import MLP
from mmwhitebox.models.layers import TRUNC_NORMAL, XAVIER, ClassAttentionLayer, TransformerLayer
from mmwhitebox.models.sizes import check_choices, check_sizes, whole_patches
from mmwhitebox.ops.dispatch import recompute_contexts
from mmwhitebox.registry import EMBEDDINGS, MODELS, build_component

from .timm_weights import file_img_size, whitebox_weights


def _arch(embed_dims: int, num_heads: int, num_layers: int, family: dict, **changes) -> dict:
    return dict(embed_dims=embed_dims, num_heads=num_heads, num_layers=num_layers, **{**family, **changes})


CBT = dict(
    attention=dict(type='CBSA'),
    feedforward=dict(type='ISTA'),
    stem=dict(type='ConvStem'),
    position=dict(type='LearnedPositions'),
    norm_cfg=dict(type='LN', eps=1e-5),
    final_norm_cfg=None,
    layer_scale_init_value=0.,
    num_class_layers=0,
    init_std=1.,
    init_cfg=None)
CRATE = dict(CBT, attention=dict(type='MSSA'), stem=dict(type='LinearStem'))
CRATE_ALPHA = dict(
    CBT,
    attention=dict(type='MSSA', out_bias=False),
    feedforward=dict(type='ODL'),
    stem=dict(type='PatchConv'),
    norm_cfg=dict(type='LN', eps=1e-6),
    final_norm_cfg=dict(type='LN', eps=1e-5),
    init_std=0.02,
    init_cfg=[
        dict(type='Normal', layer='Linear', std=0.02),
        dict(type='Kaiming', layer='Conv2d', mode='fan_in', distribution='uniform')
    ])
CRATE_MAE = dict(
    CRATE,
    feedforward=dict(type='ISTA', lam=0.5),
    stem=dict(type='PatchConv'),
    position=dict(type='SinCosPositions'),
    final_norm_cfg=dict(type='LN', eps=1e-6),
    init_std=0.02,
    init_cfg=[XAVIER, dict(type='mmwhitebox.PatchXavier')])
HYBRID = dict(CBT, attention=[dict(type='MSSA')] * 6 + [dict(type='CBSA')] * 6)
TOST = dict(
    attention=dict(type='TSSA', qkv_bias=True),
    feedforward=dict(type='MLP'),
    stem=dict(type='ConvStem'),
    position=dict(type='FourierPositions'),
    norm_cfg=dict(type='LN', eps=1e-6),
    final_norm_cfg=None,
    layer_scale_init_value=1.,
    num_class_layers=2,
    init_std=0.02,
    init_cfg=TRUNC_NORMAL)
DMST = dict(TOST, attention=dict(type='DMSA', qkv_bias=True))
VIT = dict(
    CBT,
    attention=dict(type='MHSA'),
    feedforward=dict(type='MLP'),
    stem=dict(type='PatchConv'),
    norm_cfg=dict(type='LN', eps=1e-6),
    init_std=0.02,
    init_cfg=TRUNC_NORMAL)


@MODELS.register_module()
class WhiteBoxTransformer(BaseBackbone):
    """A white-box transformer as an encoder for classification (mmpretrain) and segmentation (mmseg).

    Any image size and aspect: a learned position table is interpolated to the grid, an image that is no
    multiple of the patch gets zeros at the right and the bottom. A grid smaller than the pool of CBSA is
    allowed: the windows of the pool then repeat tokens.

    Weight decay is left to mmengine's ``paramwise_cfg``: the published recipes of CBT and CRATE decay every
    parameter. The usual exceptions (norms, biases, position table, class token, temperatures) are::

        paramwise_cfg=dict(norm_decay_mult=0., bias_decay_mult=0., flat_decay_mult=0.,
                           custom_keys=WhiteBoxTransformer.no_weight_decay)

    that is ``{'cls_token': dict(decay_mult=0.), 'pos_embed.table': ..., 'attn.temp': ...}``.

    Args:
        arch (str | dict): A name in :attr:`arch_zoo`, or a dict: ``embed_dims``, ``num_layers``,
            ``num_heads``, ``attention`` and ``feedforward`` are needed; ``stem``, ``position``,
            ``norm_cfg``, ``final_norm_cfg`` (None: as ``norm_cfg``), ``layer_scale_init_value``,
            ``num_class_layers`` (ToST's class-attention layers), ``init_std`` (of the position table and the
            class token) and ``init_cfg`` default to those of CBT. Defaults to 'cbt-small'.
        img_size (int | tuple[int, int]): Image size (height, width) that the position table is made for.
            Defaults to 224.
        patch_size (int): Defaults to 16.
        in_channels (int): Image channels. Defaults to 3.
        out_indices (int | Sequence[int]): Layers whose output is returned, in the order of the layers;
            negative numbers count from the last. Layers after the last of them, and the final norm, are then not
            built; a checkpoint that holds them loads. Defaults to -1.
        attention (dict | Sequence[dict], optional): Overrides the arch's: one config for all layers, or
            a list with one for each. ``embed_dims`` and ``num_heads`` come from the arch unless given.
        feedforward (dict | Sequence[dict | None] | str, optional): Overrides the arch's, likewise; None, for all
            layers or in the list, leaves the attention alone (AoT). Defaults to 'arch', the arch's own.
        stem (dict, optional): Overrides the arch's: 'ConvStem', 'LinearStem' or 'PatchConv'.
        position (dict, optional): Overrides the arch's: 'LearnedPositions', 'FourierPositions' or
            'SinCosPositions'.
        norm_cfg (dict, optional): Overrides the arch's norm of the layers; CRATE-alpha's last one is its own.
        layer_scale_init_value (float, optional): Overrides the arch's; 0 builds no LayerScale.
        drop_path_rate (float | Sequence[float]): Stochastic depth rate of the last layer, rising linearly from 0,
            or one rate for each layer (ToST's and DMST's are constant); the class-attention layers have none.
            Defaults to 0.
        final_norm (bool | dict): Whether the output of the last layer is normalised; the classification head is
            then one Linear. A dict is the config of that norm. Defaults to True, the arch's norm.
        out_type (str): What is returned for each index. Defaults to 'cls_token'.

            - 'cls_token': the class token, (B, D).
            - 'featmap': the patch tokens, (B, D, H, W).
            - 'avg_featmap': their mean, (B, D).
            - 'raw': all tokens of the layer, (B, N, D), the class token first.

            In ToST and DMST the class token joins after the last layer. Their 'featmap' and
            'avg_featmap' are the patch tokens before that, under the final norm (**reading**), and such
            a model has neither class token nor class-attention layers; a checkpoint that holds them loads.
        with_cls_token (bool): Whether there is a class token. Defaults to True.
        frozen_stages (int): -1 trains everything, 0 freezes stem, positions and class token, n freezes n
            layers as well. Defaults to -1.
        with_cp (bool): Recompute activations in the backward pass to save memory. Defaults to False.
        interpolate_mode (str): Rule by which a learned position table is fitted to another grid: 'bicubic', 'bilinear'
            (of the published segmentation code) or 'dino' (of the published CBT and CRATE code), see
            :func:`mmwhitebox.ops.resampling.fit_positions`. Defaults to 'bicubic'.
        pretrained (str, optional): Path of a timm ViT for ``arch='vit-*'``: ``.safetensors``, ``.pth`` or
            AugReg ``.npz``, loaded by ``init_weights()`` as in :class:`TimmViT`. Defaults to None.
        init_cfg (dict, optional): mmengine's initialisation config. Defaults to the arch's: normal Linear
            weights of standard deviation 0.02 for ToST, DMST, ViT and CRATE-alpha (and its stem
            kaiming-uniform), Xavier for CRATE-MAE, torch's own for the others.

    Raises:
        KeyError: Unknown arch, attention, feed-forward, stem or position; the known ones are listed.
        ValueError: A size that is no positive integer, a ``drop_path_rate`` outside [0, 1), a list whose length is
            not the depth, ``out_indices`` out of range, a class token
            asked of a model without one, an image smaller than a patch, an incomplete arch dict,
            ``pretrained`` for a model that is no ViT.
        CheckpointError: ``pretrained`` does not exist or is of another model (when it is loaded).
    """

    arch_zoo = {
        'cbt-tiny': _arch(192, 3, 12, CBT),
        'cbt-small': _arch(384, 6, 12, CBT),
        'cbt-base': _arch(768, 12, 12, CBT),
        'cbt-large': _arch(1024, 16, 24, CBT),
        'crate-tiny': _arch(384, 6, 12, CRATE),
        'crate-small': _arch(576, 12, 12, CRATE),
        'crate-base': _arch(768, 12, 12, CRATE),
        'crate-large': _arch(1024, 16, 24, CRATE),
        'crate-alpha-base': _arch(768, 12, 12, CRATE_ALPHA),
        'crate-alpha-large': _arch(1024, 16, 24, CRATE_ALPHA),
        'crate-alpha-huge': _arch(1280, 16, 32, CRATE_ALPHA),
        'crate-mae-tiny': _arch(384, 6, 12, CRATE_MAE),
        'crate-mae-small': _arch(576, 12, 12, CRATE_MAE),
        'crate-mae-base': _arch(768, 12, 12, CRATE_MAE),
        'crate-mae-large': _arch(1024, 16, 24, CRATE_MAE),
        'crate-cbt-tiny': _arch(192, 3, 12, HYBRID),
        'crate-cbt-small': _arch(384, 6, 12, HYBRID),
        'tost-tiny': _arch(192, 4, 12, TOST),
        'tost-small': _arch(384, 8, 12, TOST),
        'tost-medium': _arch(512, 8, 24, TOST, layer_scale_init_value=1e-5),
        'tost-large': _arch(768, 16, 24, TOST, layer_scale_init_value=1e-5),
        'tost-tiny-24': _arch(192, 4, 24, TOST, layer_scale_init_value=1e-5),
        'tost-small-24': _arch(384, 8, 24, TOST, layer_scale_init_value=1e-5),
        'dmst-tiny': _arch(192, 4, 12, DMST),
        'dmst-small': _arch(384, 8, 12, DMST),
        'vit-tiny': _arch(192, 3, 12, VIT),
        'vit-small': _arch(384, 6, 12, VIT),
    }
    required_arch_keys = ('embed_dims', 'num_layers', 'num_heads', 'attention', 'feedforward')
    no_weight_decay = {key: dict(decay_mult=0.) for key in ('cls_token', 'pos_embed.table', 'attn.temp')}
    OUT_TYPES = ('raw', 'cls_token', 'featmap', 'avg_featmap')

    def __init__(self,
                 arch: str | dict = 'cbt-small',
                 img_size: int | tuple[int, int] = 224,
                 patch_size: int = 16,
                 in_channels: int = 3,
                 out_indices: int | Sequence[int] = -1,
                 attention: dict | Sequence[dict] | None = None,
                 feedforward: dict | Sequence[dict | None] | str | None = 'arch',
                 stem: dict | None = None,
                 position: dict | None = None,
                 norm_cfg: dict | None = None,
                 layer_scale_init_value: float | None = None,
                 drop_path_rate: float | Sequence[float] = 0.,
                 final_norm: bool | dict = True,
                 out_type: str = 'cls_token',
                 with_cls_token: bool = True,
                 frozen_stages: int = -1,
                 with_cp: bool = False,
                 interpolate_mode: str = 'bicubic',
                 pretrained: str | None = None,
                 init_cfg: dict | None = None) -> None:
        settings = self._arch_settings(arch)
        super().__init__(settings['init_cfg'] if init_cfg is None else init_cfg)
        overrides = dict(
            attention=attention, stem=stem, position=position, norm_cfg=norm_cfg,
            layer_scale_init_value=layer_scale_init_value)
        settings.update({key: value for key, value in overrides.items() if value is not None})
        if isinstance(feedforward, str) and feedforward != 'arch':
            raise ValueError(f"{self._name}: feedforward={feedforward!r} must be a config such as dict(type='ISTA'), a "
                             "list of one for each layer, None (attention only) or 'arch'.")
        if feedforward != 'arch':
            settings['feedforward'] = feedforward
        self.arch_settings = settings
        self.embed_dims = dims = settings['embed_dims']
        self.num_layers = settings['num_layers']
        self.in_channels = in_channels
        check_sizes(self, embed_dims=dims, num_layers=self.num_layers, num_heads=settings['num_heads'],
                    img_size=img_size, patch_size=patch_size, in_channels=in_channels)
        check_sizes(self, least=0, num_class_layers=settings['num_class_layers'])
        drop_path_rates = self._drop_path_rates(drop_path_rate)
        check_choices(self, out_type=(out_type, self.OUT_TYPES))
        if out_type == 'cls_token' and not with_cls_token:
            raise ValueError(f"{self._name}: out_type='cls_token' needs with_cls_token=True. A model without "
                             "class token has out_type 'featmap', 'avg_featmap' or 'raw'.")
        if not -1 <= frozen_stages <= self.num_layers:
            raise ValueError(f'{self._name}: frozen_stages={frozen_stages} is not in '
                             f'[-1, {self.num_layers}].')
        self.out_type = out_type
        self.out_indices = self._positive_indices(out_indices)
        self.frozen_stages = frozen_stages
        self.with_cp = with_cp

        late_cls_token = settings['num_class_layers'] > 0
        if late_cls_token and out_type == 'cls_token' and self.out_indices != [self.num_layers - 1]:
            raise ValueError(f"{self._name}: the class token of this arch joins after the last layer, so "
                             f"out_type='cls_token' has only out_indices=-1, got {out_indices}.")
        num_built, complete = self.out_indices[-1] + 1, self.out_indices[-1] == self.num_layers - 1
        if late_cls_token and (out_type in ('featmap', 'avg_featmap') or not complete):
            with_cls_token = False
        self.num_extra_tokens = int(with_cls_token and not late_cls_token)  # in the layers
        self.cls_token = None
        if with_cls_token:
            self.cls_token = nn.Parameter(settings['init_std'] * torch.randn(1, 1, dims))
        self.stem = build_component(
            EMBEDDINGS, settings['stem'], embed_dims=dims, patch_size=patch_size, in_channels=in_channels)
        height, width = (img_size, img_size) if isinstance(img_size, int) else img_size
        self.pos_embed = build_component(
            EMBEDDINGS, settings['position'], embed_dims=dims, grid_size=self.stem.grid_size(height, width),
            num_extra_tokens=self.num_extra_tokens, init_std=settings['init_std'],
            interpolate_mode=interpolate_mode)
        layer_args = dict(
            num_heads=settings['num_heads'], norm_cfg=settings['norm_cfg'],
            layer_scale_init_value=settings['layer_scale_init_value'])
        self.layers = nn.ModuleList(
            TransformerLayer(
                dims, attention=attention_cfg, feedforward=feedforward_cfg,
                drop_path_rate=drop_path_rates[i], **layer_args)
            for i, (attention_cfg, feedforward_cfg) in enumerate(
                list(zip(self._per_layer('attention'), self._per_layer('feedforward')))[:num_built]))
        self.class_layers = nn.ModuleList(
            ClassAttentionLayer(dims, **layer_args)
            for _ in range(settings['num_class_layers'] if with_cls_token else 0))
        norm_cfg = final_norm if isinstance(final_norm, dict) else settings['final_norm_cfg'] or settings['norm_cfg']
        self.norm = build_norm_layer(norm_cfg, dims)[1] if final_norm and complete else nn.Identity()
        self.pretrained = pretrained
        if pretrained and not self._is_vit():
            raise ValueError(f"{self._name}: pretrained={pretrained!r} takes timm's weights of a ViT, which "
                             "fit arch='vit-*' only. Load other weights with init_cfg or load_from.")
        self.register_load_state_dict_pre_hook(self._drop_unbuilt)
        self._freeze_stages()

    @property
    def patch_size(self) -> tuple[int, int]:
        """Height and width of a patch in pixels."""
        return self.stem.patch_size, self.stem.patch_size

    @property
    def _name(self) -> str:
        return type(self).__name__

    @classmethod
    def _arch_settings(cls, arch: str | dict) -> dict:
        if isinstance(arch, str):
            if arch not in cls.arch_zoo:
                raise KeyError(f'Unknown arch {arch!r}. Known archs: {", ".join(cls.arch_zoo)}.')
            return dict(cls.arch_zoo[arch])
        known = cls.arch_zoo['cbt-small']
        missing = [key for key in cls.required_arch_keys if key not in arch]
        unknown = [key for key in arch if key not in known]
        if missing or unknown:
            raise ValueError(f'An arch dict needs {", ".join(cls.required_arch_keys)} and may have the other '
                             f'keys of {", ".join(known)}. Missing: {missing}, unknown: {unknown}.')
        return {**known, **arch}

    def _positive_indices(self, out_indices: int | Sequence[int]) -> list[int]:
        indices = [out_indices] if isinstance(out_indices, int) else list(out_indices)
        if not indices or not all(-self.num_layers <= index < self.num_layers for index in indices):
            raise ValueError(f'{self._name}: out_indices={out_indices} must name layers of a model with '
                             f'{self.num_layers}, each in [{-self.num_layers}, {self.num_layers - 1}].')
        return sorted({index % self.num_layers for index in indices})

    def _drop_path_rates(self, rate: float | Sequence[float]) -> list[float]:
        if not all(0 <= each < 1 for each in ([rate] if isinstance(rate, (int, float)) else rate)):
            raise ValueError(f'{self._name}: drop_path_rate={rate} is not in [0, 1).')
        if isinstance(rate, (int, float)):
            return [rate * i / max(1, self.num_layers - 1) for i in range(self.num_layers)]
        if len(rate) != self.num_layers:
            raise ValueError(f'{self._name}: drop_path_rate has {len(rate)} entries, but the depth (num_layers) is '
                             f'{self.num_layers}.')
        return list(rate)

    def _per_layer(self, name: str) -> list[dict | None]:
        cfg = self.arch_settings[name]
        if cfg is None or isinstance(cfg, dict):
            return [cfg] * self.num_layers
        if len(cfg) != self.num_layers:
            raise ValueError(f'{self._name}: the list of {name} configs has {len(cfg)} entries, but the '
                             f'depth (num_layers) is {self.num_layers}.')
        return list(cfg)

    @staticmethod
    def _drop_unbuilt(self, state_dict: dict, prefix: str, *args) -> None:
        """Leave out of a checkpoint what this model has no use for and did not build."""
        unbuilt = [f'layers.{i}.' for i in range(len(self.layers), self.num_layers)]
        if unbuilt:
            unbuilt.append('norm.')
        if self.cls_token is None:
            unbuilt += ['cls_token', 'class_layers.']
        for key in [key for key in state_dict if key.startswith(tuple(prefix + name for name in unbuilt))]:
            del state_dict[key]

    @property
    def out_channels(self) -> tuple[int, ...]:
        """Channels of every output."""
        return (self.embed_dims, ) * len(self.out_indices)

    def _is_vit(self) -> bool:
        """Whether the parameters are those of a plain timm ViT."""
        return (isinstance(self.stem, PatchConv) and isinstance(self.pos_embed, LearnedPositions)
                and not self.class_layers and all(
                    isinstance(layer.attn, MHSA) and isinstance(layer.ffn, MLP)
                    and isinstance(layer.scale1, nn.Identity) for layer in self.layers))

    def init_weights(self) -> None:
        """Initialise by ``init_cfg``; load the pretrained weights, if there are any."""
        super().init_weights()
        if not self.pretrained:
            return
        hidden_dims = self.layers[0].ffn.fc1.out_features
        patch, _ = self.patch_size
        img_size = tuple(patch * length for length in self.pos_embed.grid_size)
        if self.pos_embed.interpolate_mode != 'bicubic':  # at the size of the weights: timm would resize by its rule
            img_size = file_img_size(self._name, self.pretrained, 1, self.patch_size) or img_size
        weights = whitebox_weights(
            self._name, self.pretrained, img_size=img_size, patch_size=patch,
            in_chans=self.stem.proj.in_channels, embed_dim=self.embed_dims, depth=self.num_layers,
            num_heads=self.layers[0].attn.num_heads, mlp_ratio=hidden_dims / self.embed_dims)
        if not self.num_extra_tokens and 'pos_embed.table' in weights:
            weights['pos_embed.table'] = weights['pos_embed.table'][:, 1:]
        own = self.state_dict()
        self.load_state_dict({**own, **{key: value for key, value in weights.items()
                                        if key in own or key.split('.')[0] not in ('cls_token', 'norm')}})

    def _freeze_stages(self) -> None:
        if self.frozen_stages < 0:
            return
        for module in (self.stem, self.pos_embed, *self.layers[:self.frozen_stages]):
            module.eval()
            module.requires_grad_(False)
        if self.num_extra_tokens:
            self.cls_token.requires_grad_(False)

    def train(self, mode: bool = True) -> 'WhiteBoxTransformer':
        """Set the training mode; frozen parts stay in evaluation mode."""
        super().train(mode)
        self._freeze_stages()
        return self

    def _prepend_class_token(self, x: Tensor) -> Tensor:
        return torch.cat([self.cls_token.expand(x.shape[0], -1, -1), x], dim=1)

    def run(self, layer: nn.Module, x: Tensor, hw_shape: tuple[int, int]) -> Tensor:
        """Tokens of a grid (H, W) after a layer, (B, N, D); with ``with_cp`` recomputed in the backward pass."""
        if self.with_cp and torch.is_grad_enabled():
            return checkpoint(layer, x, hw_shape, use_reentrant=False, context_fn=recompute_contexts)
        return layer(x, hw_shape)

    def embed(self, x: Tensor, mask: Tensor | None = None,
              mask_token: Tensor | None = None) -> tuple[Tensor, tuple[int, int]]:
        """What the first layer gets of images: tokens (B, N, D) and their grid (H, W); arguments of :meth:`forward`."""
        x, hw_shape = self.stem(x)  # (B, H*W, D)
        if mask is not None:
            x = torch.where(mask[..., None], mask_token.to(x), x)
        if self.num_extra_tokens:
            x = self._prepend_class_token(x)
        return x + self.pos_embed(hw_shape), hw_shape

    def attend_class(self, x: Tensor, hw_shape: tuple[int, int]) -> Tensor:
        """Tokens after the class-attention layers, the class token first; as they are where there are none."""
        if self.class_layers:
            x = self._prepend_class_token(x)
            for layer in self.class_layers:
                x = self.run(layer, x, hw_shape)
        return x

    def covered_size(self, size: tuple[int, int]) -> tuple[int, int]:
        """Pixels (height, width) that the feature maps of images of ``size`` cover: whole patches."""
        return whole_patches(size, self.patch_size)

    def forward(self, x: Tensor, mask: Tensor | None = None, mask_token: Tensor | None = None) -> tuple[Tensor, ...]:
        """Features of the layers in ``out_indices``, in the form of ``out_type``.

        Args:
            x (Tensor): Images, (B, in_channels, height, width).
            mask (Tensor, optional): Patches to hide, (B, H*W) bool, row major: their tokens are replaced before the
                positions are added. The outputs are then all tokens, as of ``out_type='raw'``. Defaults to None.
            mask_token (Tensor, optional): What stands for them, (1, 1, D); needed with ``mask``. Defaults to None.

        Returns:
            tuple[Tensor]: One tensor per index, in the order of the layers.
        """
        out_type = self.out_type if mask is None else 'raw'
        x, hw_shape = self.embed(x, mask, mask_token)
        outs = []
        for i, layer in enumerate(self.layers):
            x = self.run(layer, x, hw_shape)
            if i in self.out_indices and i < self.num_layers - 1:
                outs.append(self._format_output(self._select_output(x, hw_shape, out_type), hw_shape, out_type))
        if self.out_indices[-1] == self.num_layers - 1:
            x = self.attend_class(x, hw_shape)
            outs.append(self._format_output(self.norm(self._select_output(x, hw_shape, out_type)), hw_shape, out_type))
        return tuple(outs)

    @staticmethod
    def _select_output(x: Tensor, hw_shape: tuple[int, int], out_type: str) -> Tensor:
        """The tokens that ``out_type`` is made of, (B, ..., D)."""
        if out_type == 'raw':
            return x
        return x[:, 0] if out_type == 'cls_token' else x[:, x.shape[1] - math.prod(hw_shape):]

    @staticmethod
    def _format_output(x: Tensor, hw_shape: tuple[int, int], out_type: str) -> Tensor:
        if out_type == 'featmap':
            return x.transpose(1, 2).unflatten(2, hw_shape)
        return x.mean(1) if out_type == 'avg_featmap' else x

    def get_layer_depth(self, param_name: str, prefix: str = '') -> tuple[int, int]:
        """Depth of a parameter for layer-wise learning-rate decay, as in mmpretrain.

        Args:
            param_name (str): Name of the parameter.
            prefix (str): Prefix of this backbone's parameters. Defaults to ''.

        Returns:
            tuple[int, int]: The depth (0 the stem, i + 1 layer i, the last everything after the layers)
            and the number of depths.
        """
        num_depths = self.num_layers + 2
        name = param_name.removeprefix(prefix)
        if param_name.startswith(prefix):
            if name.startswith('layers.'):
                return int(name.split('.')[1]) + 1, num_depths
            if name.startswith(('stem.', 'pos_embed.')) or (name == 'cls_token' and self.num_extra_tokens):
                return 0, num_depths
        return num_depths - 1, num_depths
