r"""The white-box mask decoder: CBT (CBSA, NeurIPS 2025), DEPICT-SA and DEPICT-CA (NeurIPS 2024).

Patch tokens and one learned token per class pass L layers of attention only,

    X <- X + Attention(LayerNorm(X))              (no feed-forward)

then mask_c = LayerNorm_over_classes(cos(patch, class_c)). With a class attention, the layers refine
the patches alone and the class tokens, as queries Q, gather them afterwards (DEPICT-CA):

    Q <- Q + MSCA(Q, LayerNorm(X))
"""
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmcv.cnn import build_norm_layer
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from torch import Tensor, nn

from mmwhitebox.models.layers import TRUNC_NORMAL, AttentionLayer, CrossAttentionLayer
from mmwhitebox.models.sizes import check_sizes
from mmwhitebox.registry import MODELS


@MODELS.register_module()
class WhiteBoxMaskHead(BaseDecodeHead):
    """Mask decoder whose every layer is one step of a compression objective.

    Args:
        in_channels (int | Sequence[int]): Channels of the encoder's feature map; of each one in ``in_index`` with
            ``input_transform='resize_concat'``, which joins them at the size of the first (**reading**: the
            papers' decoders take one).
        channels (int): Width D of the decoder. A Linear maps the features to it when it differs from
            ``in_channels`` (their sum); the papers' decoders have none.
        num_classes (int): Number of classes, one learned class token each.
        num_layers (int): Number of attention layers L.
        attention (dict): Config of the attention: ``dict(type='CBSA', num_heads=3, head_dims=100,
            pool_size=10)`` is CBT's, ``dict(type='MSSA', num_heads=3, head_dims=100,
            out_proj='shared')`` is DEPICT's.
        class_attention (dict, optional): Config of a cross-attention with the class tokens as queries,
            e.g. ``dict(type='MSCA', num_heads=3, head_dims=50)``: DEPICT-CA. None lets the class tokens
            take part in ``attention``. Defaults to None.
        num_class_layers (int): Number of class-attention layers, if there are any. Defaults to 3.
        norm_cfg (dict): Config of the token norms. Defaults to LayerNorm with eps 1e-5.
        **kwargs: Arguments of mmseg's ``BaseDecodeHead``: ``loss_decode``, ``align_corners``,
            ``ignore_index``, ``sampler``, ``in_index``, ...

    Raises:
        ValueError: For ``num_classes=1`` or ``out_channels=1``: the norm over a single class is constant. Use two
            classes, or another head with ``out_channels=1``. For ``input_transform='multiple_select'``: the decoder
            takes one sequence of patches. For a size that is no positive integer.

    Class tokens and the weights of all Linear layers start from a normal distribution of standard deviation 0.02,
    truncated at -2 and 2, biases at 0, as in the published code; ``init_cfg`` changes the Linear layers.
    """

    def __init__(self,
                 in_channels: int | Sequence[int],
                 channels: int,
                 *,
                 num_classes: int,
                 num_layers: int,
                 attention: dict,
                 class_attention: dict | None = None,
                 num_class_layers: int = 3,
                 norm_cfg: dict = dict(type='LN', eps=1e-5),
                 **kwargs) -> None:
        check_sizes(self, in_channels=in_channels, channels=channels, num_classes=num_classes, num_layers=num_layers,
                    num_class_layers=None if class_attention is None else num_class_layers)
        if num_classes == 1:
            raise ValueError(
                'WhiteBoxMaskHead: num_classes=1, and a mask normalised over one class is constant. Make the rest a '
                "class: num_classes=2, metainfo=dict(classes=('background', NAME)), masks of 0 and 1; or take a head "
                "of one channel: type='FCNHead', num_classes=2, out_channels=1.")
        super().__init__(
            in_channels,
            channels,
            num_classes=num_classes,
            norm_cfg=norm_cfg,
            dropout_ratio=0,
            **{'out_channels': num_classes, 'init_cfg': TRUNC_NORMAL, **kwargs})
        if self.out_channels != num_classes:
            raise ValueError('WhiteBoxMaskHead normalises the masks over the classes, so it needs one '
                             f'output per class: out_channels={self.out_channels} must be num_classes='
                             f'{num_classes}.')
        if self.input_transform == 'multiple_select':
            raise ValueError("WhiteBoxMaskHead takes one sequence of patches: input_transform='resize_concat' joins "
                             "several feature maps, 'multiple_select' leaves them apart.")
        del self.conv_seg
        self.in_proj = nn.Identity() if self.in_channels == channels else nn.Linear(self.in_channels, channels)
        self.cls_tokens = nn.Parameter(torch.empty(1, num_classes, channels))
        nn.init.trunc_normal_(self.cls_tokens, std=0.02)
        self.layers = nn.ModuleList(
            AttentionLayer(channels, attention, norm_cfg) for _ in range(num_layers))
        self.decoder_norm = build_norm_layer(norm_cfg, channels)[1]
        self.class_layers = nn.ModuleList()
        if class_attention is not None:
            self.class_layers.extend(
                CrossAttentionLayer(channels, class_attention, norm_cfg)
                for _ in range(num_class_layers))
            self.class_norm = build_norm_layer(norm_cfg, channels)[1]
        self.mask_norm = build_norm_layer(norm_cfg, num_classes)[1]

    def decode_tokens(self, x: Tensor, hw_shape: tuple[int, int]) -> tuple[Tensor, Tensor]:
        """Class tokens (B, C, D) and patch tokens (B, H*W, D) after all layers and norms."""
        classes = self.cls_tokens.expand(x.shape[0], -1, -1)
        if not self.class_layers:
            x = torch.cat([classes, x], dim=1)  # extra tokens first
            for layer in self.layers:
                x = layer(x, hw_shape)
            x = self.decoder_norm(x)
            return x[:, :self.num_classes], x[:, self.num_classes:]
        for layer in self.layers:
            x = layer(x, hw_shape)
        x = self.decoder_norm(x)
        for layer in self.class_layers:
            classes = layer(classes, x)
        return self.class_norm(classes), x

    def forward(self, inputs: list[Tensor]) -> Tensor:
        """Masks at the resolution of the features.

        Args:
            inputs (list[Tensor]): Feature maps of the encoder, each (B, its channels, H, W).

        Returns:
            Tensor: Class masks (logits), (B, num_classes, H, W).
        """
        features = self._transform_inputs(inputs)
        hw_shape = tuple(features.shape[2:])
        x = self.in_proj(features.flatten(2).transpose(1, 2))  # (B, H*W, D)
        classes, patches = self.decode_tokens(x, hw_shape)
        masks = F.normalize(patches, dim=-1) @ F.normalize(classes, dim=-1).transpose(1, 2)
        masks = self.mask_norm(masks)  # (B, H*W, C)
        # class by class: torch enlarges one image whose channels lie last five times slower, with a gradient also more
        return masks.transpose(1, 2).unflatten(2, hw_shape).contiguous()
