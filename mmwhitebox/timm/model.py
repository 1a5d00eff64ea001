"""A white-box transformer with the interface of timm's models."""
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

from timm.layers.pool1d import global_pool_nlc
from timm.models._features import feature_take_indices
from torch import Tensor, nn

from mmwhitebox.engine.silence import silent
from mmwhitebox.models.backbones import WhiteBoxTransformer
from mmwhitebox.models.embeddings import LearnedPositions
from mmwhitebox.ops.resampling import fit_positions

POOLS = ('token', 'avg', 'avgmax', 'max', '')


class WhiteBoxModel(nn.Module):
    """An encoder and one Linear, as in the configs of classifiers, with timm's arguments and methods.

    The keys of its state dict are those of mmpretrain's ``ImageClassifier`` with a ``LinearClsHead``:
    ``backbone.*``, ``head.fc.*``.

    Args:
        arch (str | dict): As in :class:`.WhiteBoxTransformer`. In :func:`timm.create_model` that of the name, or a
            dict that differs from it in its sizes.
        img_size (int | tuple[int, int]): Image size (height, width) that a learned position table is made for; any
            size is taken in use. Defaults to 224.
        patch_size (int): Defaults to 16.
        in_chans (int): Image channels. Defaults to 3.
        num_classes (int): 0 builds no classifier. Defaults to 1000.
        global_pool (str, optional): 'token', 'avg', 'max', 'avgmax' (of the patches, without the class token) or ''
            (all tokens). Defaults to None: 'token', or 'avg' without a class token.
        embed_dim, depth, num_heads (int, optional): Override the arch's.
        class_token (bool): Defaults to True. ToST and DMST have none unless ``global_pool`` is 'token' or ''.
        drop_rate (float): Dropout before the classifier. Defaults to 0.
        drop_path_rate (float | Sequence[float]): As in :class:`.WhiteBoxTransformer`. Defaults to 0.
        attention, feedforward, stem, position, norm_cfg, layer_scale_init_value, final_norm, interpolate_mode: As in
            :class:`.WhiteBoxTransformer`.

    Attributes:
        feature_info (list[dict]): ``module``, ``num_chs`` and ``reduction`` of every layer.

    Raises:
        ValueError: As :class:`.WhiteBoxTransformer`, an unknown ``global_pool``, or 'token' without class token.
    """

    def __init__(self,
                 arch: str | dict,
                 img_size: int | tuple[int, int] = 224,
                 patch_size: int = 16,
                 in_chans: int = 3,
                 num_classes: int = 1000,
                 global_pool: str | None = None,
                 embed_dim: int | None = None,
                 depth: int | None = None,
                 num_heads: int | None = None,
                 class_token: bool = True,
                 drop_rate: float = 0.,
                 drop_path_rate: float | Sequence[float] = 0.,
                 attention: dict | Sequence[dict] | None = None,
                 feedforward: dict | Sequence[dict | None] | str | None = 'arch',
                 stem: dict | None = None,
                 position: dict | None = None,
                 norm_cfg: dict | None = None,
                 layer_scale_init_value: float | None = None,
                 final_norm: bool | dict = True,
                 interpolate_mode: str = 'bicubic') -> None:
        super().__init__()
        sizes = dict(embed_dims=embed_dim, num_layers=depth, num_heads=num_heads)
        sizes = {key: value for key, value in sizes.items() if value is not None}
        if sizes:
            arch = {**(WhiteBoxTransformer.arch_zoo[arch] if isinstance(arch, str) else arch), **sizes}
        global_pool = ('token' if class_token else 'avg') if global_pool is None else global_pool
        check_pool(global_pool, class_token)
        settings = WhiteBoxTransformer.arch_zoo[arch] if isinstance(arch, str) else arch
        late = settings.get('num_class_layers', 0) > 0  # its patches are pooled as they are before the class attention
        self.backbone = WhiteBoxTransformer(
            arch, img_size=img_size, patch_size=patch_size, in_channels=in_chans, out_type='raw',
            with_cls_token=class_token and not (late and global_pool in ('avg', 'max', 'avgmax')),
            drop_path_rate=drop_path_rate, attention=attention, feedforward=feedforward, stem=stem, position=position,
            norm_cfg=norm_cfg, layer_scale_init_value=layer_scale_init_value, final_norm=final_norm,
            interpolate_mode=interpolate_mode)
        self.in_chans = in_chans
        self.num_classes = num_classes
        self.global_pool = global_pool
        self.num_features = self.head_hidden_size = self.embed_dim = self.backbone.embed_dims
        self.feature_info = [dict(module=f'backbone.layers.{i}', num_chs=self.embed_dim, reduction=patch_size)
                             for i in range(self.backbone.num_layers)]
        self.head = nn.Sequential(OrderedDict(drop=nn.Dropout(drop_rate), fc=self._classifier()))
        self.register_load_state_dict_pre_hook(with_prefix)
        with silent():
            self.backbone.init_weights()

    @property
    def num_prefix_tokens(self) -> int:
        """Tokens before those of the patches in :meth:`forward_features`."""
        return int(self.backbone.cls_token is not None)

    def _classifier(self) -> nn.Module:
        like = self.backbone.layers[0].norm1.weight
        return nn.Linear(self.num_features, self.num_classes, device=like.device, dtype=like.dtype) \
            if self.num_classes > 0 else nn.Identity()

    def no_weight_decay(self) -> set[str]:
        """Names of parameters that the usual recipes do not decay: class token, position table, temperatures."""
        spared = tuple(WhiteBoxTransformer.no_weight_decay)
        return {name for name, _ in self.named_parameters() if name.endswith(spared)}

    def group_matcher(self, coarse: bool = False) -> dict[str, Any]:
        """Patterns that group the parameters by depth, for timm's layer-wise decay of the learning rate."""
        first = 'cls_token|pos_embed|stem' if self.backbone.num_extra_tokens else 'pos_embed|stem'
        return dict(stem=rf'^backbone\.(?:{first})',
                    blocks=[(r'^backbone\.layers\.(\d+)', None),
                            (r'^backbone\.(?:norm|cls_token|class_layers)', (99999, ))])  # with the last layer

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Recompute the layers in the backward pass."""
        self.backbone.with_cp = enable

    def get_classifier(self) -> nn.Module:
        """The last Linear; an Identity without classes."""
        return self.head.get_submodule('fc')

    def reset_classifier(self, num_classes: int, global_pool: str | None = None) -> None:
        """Begin anew with another number of classes, 0 for none, and another pooling.

        Raises:
            ValueError: An unknown pooling, or 'token' without class token.
        """
        if global_pool is not None:
            check_pool(global_pool, self.num_prefix_tokens > 0)
            if global_pool in ('avg', 'max', 'avgmax'):
                self._drop_class_layers()
            self.global_pool = global_pool
        self.num_classes = num_classes
        self.head.fc = self._classifier().train(self.training)

    def _drop_class_layers(self) -> None:
        """Leave the class attention of ToST and DMST out; nothing else there sees the class token."""
        if self.backbone.class_layers:
            self.backbone.class_layers = nn.ModuleList()
            self.backbone.cls_token = None

    def set_input_size(self, img_size: int | tuple[int, int] | None = None, patch_size: int | None = None) -> None:
        """Fit a learned position table to another image size, once; other positions need nothing.

        Args:
            img_size (int | tuple[int, int], optional): Height and width. Defaults to None: as it is.
            patch_size (int, optional): That of the model; another one is refused.

        Raises:
            ValueError: Another patch size.
        """
        own = self.backbone.patch_size
        if patch_size is not None and (patch_size, patch_size) != own and patch_size != own:
            raise ValueError(f'set_input_size: the patches of this model are {own[0]} x {own[1]} and stay so; '
                             'build a model with another patch_size.')
        if img_size is None:
            return
        height, width = (img_size, img_size) if isinstance(img_size, int) else img_size
        grid, positions = self.backbone.stem.grid_size(height, width), self.backbone.pos_embed
        if isinstance(positions, LearnedPositions):
            table = fit_positions(positions.table.detach(), positions.grid_size, grid, positions.interpolate_mode,
                                  positions.num_extra_tokens)
            positions.table = nn.Parameter(table.clone(), requires_grad=positions.table.requires_grad)
            positions.grid_size = grid
        note(self, img_size=(height, width))

    def forward_intermediates(self,
                              x: Tensor,
                              indices: int | Sequence[int] | None = None,
                              return_prefix_tokens: bool = False,
                              norm: bool = False,
                              stop_early: bool = False,
                              output_fmt: str = 'NCHW',
                              intermediates_only: bool = False,
                              output_dict: bool = False) -> Any:
        """Features of several layers, as timm's ViTs give them.

        Args:
            x (Tensor): Images, (B, C, height, width).
            indices (int | Sequence[int], optional): The last n layers, or which. Defaults to None: all.
            return_prefix_tokens (bool): With the class token, where the layers have one. Defaults to False.
            norm (bool): Under the final norm. Defaults to False.
            stop_early (bool): Run no layer after the last of them. Defaults to False.
            output_fmt (str): 'NCHW', maps (B, D, H, W), or 'NLC', tokens (B, H*W, D). Defaults to 'NCHW'.
            intermediates_only (bool): Without the output of :meth:`forward_features`. Defaults to False.
            output_dict (bool): As a dict with ``image_intermediates``, ``image_intermediates_prefix`` and
                ``image_features``. Defaults to False.

        Returns:
            list[Tensor] | tuple[Tensor, list[Tensor]] | dict: The features, in the order of the layers; with
            prefix tokens a list of pairs.

        Raises:
            ValueError: Another ``output_fmt``, or prefix tokens of ToST or DMST, whose class token joins after the last
                layer.
        """
        if output_fmt not in ('NCHW', 'NLC'):
            raise ValueError(f"output_fmt={str(output_fmt)!r} is neither 'NCHW' nor 'NLC'.")
        encoder = self.backbone
        if return_prefix_tokens and encoder.class_layers:
            raise ValueError('return_prefix_tokens: the class token of this model joins after the last layer; '
                             "global_pool='avg' builds it without one.")
        taken, last = feature_take_indices(len(encoder.layers), indices)
        layers = encoder.layers[:last + 1] if stop_early else encoder.layers
        x, (height, width) = encoder.embed(x)
        tokens = []
        for i, layer in enumerate(layers):
            x = encoder.run(layer, x, (height, width))
            if i in taken:
                tokens.append(encoder.norm(x) if norm else x)
        extra = encoder.num_extra_tokens
        prefix, features = [y[:, :extra] for y in tokens], [y[:, extra:] for y in tokens]
        if output_fmt == 'NCHW':
            features = [y.transpose(1, 2).unflatten(2, (height, width)).contiguous() for y in features]
        if output_dict:
            found = dict(image_intermediates=features)
            if return_prefix_tokens and extra:
                found['image_intermediates_prefix'] = prefix
            if not intermediates_only:
                found['image_features'] = encoder.norm(encoder.attend_class(x, (height, width)))
            return found
        if return_prefix_tokens and extra:
            features = list(zip(features, prefix))
        if intermediates_only:
            return features
        return encoder.norm(encoder.attend_class(x, (height, width))), features

    def prune_intermediate_layers(self,
                                  indices: int | Sequence[int] = 1,
                                  prune_norm: bool = False,
                                  prune_head: bool = True) -> list[int]:
        """Leave out what the features of some layers do not need.

        Args:
            indices (int | Sequence[int]): As in :meth:`forward_intermediates`. Defaults to 1.
            prune_norm (bool): Also the final norm. Defaults to False.
            prune_head (bool): Also class attention and classifier. Defaults to True.

        Returns:
            list[int]: The layers, counted from the first.
        """
        taken, last = feature_take_indices(len(self.backbone.layers), indices)
        self.backbone.layers = self.backbone.layers[:last + 1]
        if prune_norm:
            self.backbone.norm = nn.Identity()
        if prune_head:
            self._drop_class_layers()
            self.reset_classifier(0, '')
        return taken

    def forward_features(self, x: Tensor) -> Tensor:
        """All tokens under the final norm, the class token first, (B, N, D), of images (B, C, height, width)."""
        return self.backbone(x)[-1]

    def forward_head(self, x: Tensor, pre_logits: bool = False) -> Tensor:
        """Logits (B, num_classes) of tokens (B, N, D); with ``pre_logits`` what the classifier gets, (B, D)."""
        x = self.head.drop(global_pool_nlc(x, self.global_pool, self.num_prefix_tokens))
        return x if pre_logits else self.head.fc(x)

    def forward(self, x: Tensor) -> Tensor:
        """Logits, (B, num_classes), of images (B, C, height, width)."""
        return self.forward_head(self.forward_features(x))


def check_pool(global_pool: str, class_token: bool) -> None:
    """Raise a ValueError for a pooling that there is not."""
    if global_pool not in POOLS:
        raise ValueError(f'global_pool={global_pool!r} is none of {", ".join(map(repr, POOLS))}.')
    if global_pool == 'token' and not class_token:
        raise ValueError("global_pool='token' needs a class token, which this model does not have: take 'avg'.")


def note(model: nn.Module, img_size: tuple[int, int] | None = None, **arguments: Any) -> None:
    """Note, as timm does to save a model and to prepare images, arguments that build it anew and its image size."""
    try:
        from timm.models._input import update_model_args, update_model_input_size
    except ImportError:  # an older timm keeps no such notes
        return
    update_model_args(model, **arguments)
    if img_size is not None:
        update_model_input_size(model, img_size)


def with_prefix(module: nn.Module, state_dict: dict[str, Tensor], prefix: str, *args) -> None:
    """Load hook: the keys of an encoder alone as those of the encoder of this model."""
    own = [key for key in state_dict if key.startswith(prefix)]
    if not any(key.startswith(f'{prefix}backbone.') for key in own):
        for key in own:
            if not key.startswith(f'{prefix}head.'):
                state_dict[f'{prefix}backbone.{key.removeprefix(prefix)}'] = state_dict.pop(key)
