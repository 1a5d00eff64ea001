r"""CRATE-MAE: a white-box encoder and its transpose learn to paint in what was removed from an image.

    T = stem(image);   T_j <- mask token for the removed patches j
    X = [class token; T] + positions
    encoder layer:   X <- ISTA(LN(X + MSSA(LN(X))))       then LN
    decoder layer:   G = LN(X) A^T,   X <- G - MSSA(LN(G))       then LN and Linear: P x P pixels for each patch
    loss = mean over the removed patches of |predicted - true pixels|^2 / (3 P^2)

Unlike MAE's, the encoder sees the mask tokens; the decoder, of the same width, mirrors its layers.
"""
import torch
from mmcv.cnn import build_norm_layer
from mmengine.model import BaseModule
from mmpretrain.models.heads import MAEPretrainHead
from mmpretrain.models.selfsup import BaseSelfSupervisor
from torch import Tensor, nn
from torch.nn.functional import pad

from mmwhitebox.errors import ConfigError, UserError
from mmwhitebox.models.backbones import WhiteBoxTransformer
from mmwhitebox.models.layers import XAVIER, TransposedLayer
from mmwhitebox.models.sizes import check_sizes, whole_patches
from mmwhitebox.registry import MODELS

MASK_TOKEN_STD = 0.02


@MODELS.register_module()
class CRATEMAEDecoder(BaseModule):
    """The decoder of CRATE-MAE: transposed layers, a norm, and a Linear to pixels.

    Args:
        embed_dims (int): Token width D.
        num_heads (int): Number of heads K.
        num_layers (int): Number of :class:`.layers.TransposedLayer`.
        patch_size (int): P. Defaults to 16.
        in_channels (int): Image channels C. Defaults to 3.
        attention (dict): Attention of the layers. Defaults to MSSA.
        feedforward (dict): What leaves the sparse code. Defaults to DictionaryMap.
        norm_cfg (dict): Norm of the layers. Defaults to LayerNorm with eps 1e-5.
        final_norm_cfg (dict): Norm after them. Defaults to LayerNorm with eps 1e-6.
        init_cfg (dict): Defaults to Xavier-uniform for Linear layers.
    """

    def __init__(self,
                 embed_dims: int,
                 num_heads: int,
                 num_layers: int,
                 patch_size: int = 16,
                 in_channels: int = 3,
                 attention: dict = dict(type='MSSA'),
                 feedforward: dict = dict(type='DictionaryMap'),
                 norm_cfg: dict = dict(type='LN', eps=1e-5),
                 final_norm_cfg: dict = dict(type='LN', eps=1e-6),
                 init_cfg: dict = XAVIER) -> None:
        super().__init__(init_cfg)
        check_sizes(self, embed_dims=embed_dims, num_layers=num_layers, patch_size=patch_size, in_channels=in_channels)
        self.embed_dims = embed_dims
        self.layers = nn.ModuleList(
            TransposedLayer(embed_dims, num_heads, attention, feedforward, norm_cfg) for _ in range(num_layers))
        self.norm = build_norm_layer(final_norm_cfg, embed_dims)[1]
        self.to_pixels = nn.Linear(embed_dims, in_channels * patch_size**2)

    def forward(self, x: Tensor, hw_shape: tuple[int, int]) -> Tensor:
        """Pixels of every patch, (B, H*W, P*P*C), ordered (row, column, channel).

        Args:
            x (Tensor): Tokens of the encoder, (B, E + H*W, D), extra tokens first.
            hw_shape (tuple[int, int]): Patch grid (H, W).
        """
        for layer in self.layers:
            x = layer(x, hw_shape)
        return self.to_pixels(self.norm(x[:, x.shape[1] - hw_shape[0] * hw_shape[1]:]))


@MODELS.register_module()
class CRATEMAEHead(MAEPretrainHead):
    """mmpretrain's head for MAE, for images of any aspect; zeros fill patches that reach over the edge.

    Args:
        norm_pix (bool): The targets are standardised patch by patch, with the unbiased variance + 1e-6. Defaults to
            False.
        patch_size (int): P. Defaults to 16.
        in_channels (int): Image channels C. Defaults to 3.
        loss (dict): Loss of predicted pixels (B, N, P*P*C), true ones and the mask (B, N). Defaults to the mean
            squared error over the removed patches.
    """

    def __init__(self,
                 norm_pix: bool = False,
                 patch_size: int = 16,
                 in_channels: int = 3,
                 loss: dict = dict(type='mmpretrain.PixelReconstructionLoss', criterion='L2')) -> None:
        super().__init__(loss, norm_pix, patch_size, in_channels)

    def patchify(self, imgs: Tensor) -> Tensor:
        """Images (B, C, height, width) -> (B, H*W, P*P*C), ordered (row, column, channel)."""
        p = self.patch_size
        height, width = whole_patches(imgs.shape[2:], (p, p))
        imgs = pad(imgs, (0, width - imgs.shape[3], 0, height - imgs.shape[2]))
        patches = imgs.unflatten(3, (-1, p)).unflatten(2, (-1, p))  # (B, C, H, P, W, P)
        return patches.permute(0, 2, 4, 3, 5, 1).flatten(3).flatten(1, 2)

    def unpatchify(self, x: Tensor, hw_shape: tuple[int, int]) -> Tensor:
        """(B, H*W, P*P*C) -> images (B, C, H*P, W*P)."""
        p = self.patch_size
        patches = x.unflatten(2, (p, p, -1)).unflatten(1, tuple(hw_shape))  # (B, H, W, P, P, C)
        return patches.permute(0, 5, 1, 3, 2, 4).flatten(4).flatten(2, 3)

    def restore(self, pred: Tensor, imgs: Tensor) -> Tensor:
        """Predictions in the units of the images: with ``norm_pix``, mean and spread of the true patches put back."""
        if not self.norm_pix:
            return pred
        target = self.patchify(imgs)
        return pred * (target.var(-1, keepdim=True) + 1e-6).sqrt() + target.mean(-1, keepdim=True)


@MODELS.register_module()
class CRATEMAE(BaseSelfSupervisor):
    """Masked autoencoding by a white-box transformer and its transpose.

    A config names the encoder; decoder and head have its width, depth, heads and patch unless they say otherwise::

        model = dict(type='mmwhitebox.CRATEMAE',
                     backbone=dict(type='mmwhitebox.WhiteBoxTransformer', arch='crate-mae-base'),
                     head=dict(type='mmwhitebox.CRATEMAEHead', norm_pix=True))

    The keys of the encoder begin with ``backbone.``, as in a classifier or a segmentor: ``load_from`` of the
    checkpoint, or ``init_cfg=dict(type='Pretrained', checkpoint=..., prefix='backbone')`` of its backbone, takes it
    over. :meth:`extract_feat` is the encoder on whole images, in the form of its ``out_type``.

    Masks are drawn from torch's generator, which the seed of a training sets and its checkpoints hold.

    Args:
        backbone (dict): A :class:`mmwhitebox.models.backbones.WhiteBoxTransformer`; its last layer is among
            ``out_indices``.
        neck (dict, optional): Defaults to :class:`CRATEMAEDecoder`.
        head (dict, optional): Defaults to :class:`CRATEMAEHead`.
        mask_ratio (float): Share of the patches that is removed, between 0 and 1. Defaults to 0.75.
        data_preprocessor (dict, optional): Defaults to mmpretrain's ``ClsDataPreprocessor``.
        init_cfg (dict, optional): mmengine's initialisation config. Defaults to None: of each part its own.

    Raises:
        ConfigError: Another kind of encoder, one without its last layer, a decoder or a head of another width, patch
            or number of channels, a ``mask_ratio`` that removes nothing or everything.
    """

    def __init__(self,
                 backbone: dict,
                 neck: dict | None = None,
                 head: dict | None = None,
                 mask_ratio: float = 0.75,
                 data_preprocessor: dict | None = None,
                 init_cfg: dict | None = None) -> None:
        encoder = MODELS.build(backbone) if isinstance(backbone, dict) else backbone
        if not isinstance(encoder, WhiteBoxTransformer):
            raise ConfigError(f'model.backbone: CRATEMAE takes a WhiteBoxTransformer, which knows masks, not '
                              f'{type(encoder).__name__}.')
        if encoder.out_indices[-1] != encoder.num_layers - 1:
            raise ConfigError(f'model.backbone.out_indices={encoder.out_indices}: the decoder of CRATEMAE takes the '
                              f'last layer, {encoder.num_layers - 1}: leave it out, or add -1.')
        patch = dict(patch_size=encoder.patch_size[0], in_channels=encoder.in_channels)
        sizes = dict(embed_dims=encoder.embed_dims, num_heads=encoder.arch_settings['num_heads'],
                     num_layers=encoder.num_layers, **patch)
        neck = MODELS.build({**sizes, 'type': 'mmwhitebox.CRATEMAEDecoder', **(neck or {})})
        head = MODELS.build({**patch, 'type': 'mmwhitebox.CRATEMAEHead', **(head or {})})
        self._check_parts(sizes, neck, head)
        super().__init__(encoder, neck, head, init_cfg=init_cfg, data_preprocessor={
            'type': 'mmpretrain.ClsDataPreprocessor', **(data_preprocessor or {})})
        bands = getattr(self.data_preprocessor, 'mean', None)
        if bands is not None and len(bands) not in (1, encoder.in_channels):
            raise ConfigError(f'model.data_preprocessor.mean has {len(bands)} values and model.backbone takes images '
                              f'of {encoder.in_channels} channels: set backbone.in_channels={len(bands)}.')
        num_patches = encoder.pos_embed.grid_size[0] * encoder.pos_embed.grid_size[1] \
            if hasattr(encoder.pos_embed, 'grid_size') else None
        if not isinstance(mask_ratio, (int, float)) or not 0 < mask_ratio < 1 or \
                (num_patches and not 0 < int(num_patches * (1 - mask_ratio)) < num_patches):
            raise ConfigError(f'model.mask_ratio={mask_ratio!r} is a share between 0 and 1 that leaves at least one of '
                              f'{num_patches or "the"} patches and removes at least one.')
        self.mask_ratio = mask_ratio
        self.mask_token = nn.Parameter(MASK_TOKEN_STD * torch.randn(1, 1, encoder.embed_dims))

    @staticmethod
    def _check_parts(sizes: dict, neck: nn.Module, head: nn.Module) -> None:
        dims, patch, channels = sizes['embed_dims'], sizes['patch_size'], sizes['in_channels']
        width, pixels = neck.embed_dims, neck.to_pixels.out_features
        if width != dims:
            raise ConfigError(f'model.neck.embed_dims={width}, but model.backbone has tokens of {dims}: leave it out.')
        if pixels != channels * patch**2:
            raise ConfigError(f'model.neck gives {pixels} values for each patch, of {patch} x {patch} pixels and '
                              f'{channels} channels by model.backbone: leave patch_size and in_channels out.')
        for key, own in (('patch_size', patch), ('in_channels', channels)):
            if getattr(head, key) != own:
                raise ConfigError(f'model.head.{key}={getattr(head, key)}, but model.backbone has {own}: leave it out.')

    def grid_size(self, images: Tensor) -> tuple[int, int]:
        """Patch grid (H, W) of images (B, C, height, width)."""
        return self.backbone.stem.grid_size(*images.shape[2:])

    def random_mask(self, noise: Tensor) -> Tensor:
        """The patches to remove: all but the floor((1 - mask_ratio) N) of the smallest noise in each image.

        Args:
            noise (Tensor): (B, N).

        Returns:
            Tensor: (B, N) bool, True is removed.
        """
        kept = int(noise.shape[1] * (1 - self.mask_ratio))
        mask = torch.ones_like(noise, dtype=torch.bool)
        return mask.scatter(1, noise.argsort(1)[:, :kept], False)

    def draw_mask(self, images: Tensor) -> Tensor:
        """A random mask of each image, (B, H*W) bool."""
        height, width = self.grid_size(images)
        return self.random_mask(torch.rand(len(images), height * width, device=images.device))

    def predict_pixels(self, images: Tensor, mask: Tensor | None = None) -> Tensor:
        """What encoder and decoder make of masked images.

        Args:
            images (Tensor): Normalised, (B, C, height, width).
            mask (Tensor, optional): (B, H*W) bool, True is removed. Defaults to None: nothing is.

        Returns:
            Tensor: Predictions for all patches, (B, H*W, P*P*C).
        """
        height, width = self.grid_size(images)
        if mask is None:
            mask = torch.zeros(len(images), height * width, dtype=torch.bool, device=images.device)
        return self.neck(self.backbone(images, mask, self.mask_token)[-1], (height, width))

    def forward(self, inputs: Tensor, data_samples: list | None = None, mode: str = 'tensor') -> tuple | dict:
        """mmpretrain's modes 'tensor' (:meth:`extract_feat`) and 'loss'.

        Raises:
            UserError: ``mode='predict'``: there are no classes to predict.
        """
        if mode == 'predict':
            raise UserError('CRATEMAE has learned no classes, so it predicts none: look at it with mmwhitebox measure '
                            'reconstruction, or train a classifier or segmentor with load_from its checkpoint.')
        return super().forward(inputs, data_samples, mode)

    def loss(self, inputs: Tensor, data_samples: list | None = None) -> dict[str, Tensor]:
        """The loss of a batch under new random masks.

        Args:
            inputs (Tensor): Normalised images, (B, C, height, width).
            data_samples (list, optional): Not used: no label is.
        """
        mask = self.draw_mask(inputs)
        return dict(loss=self.head.loss(self.predict_pixels(inputs, mask), inputs, mask.float()))
