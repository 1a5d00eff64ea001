"""What is exported of a model: a network of normalised images to logits."""
import copy

import torch
from mmengine.config import Config
from mmengine.model import BaseModel
from torch import Generator, Tensor, nn
from torch.export import Dim

from mmwhitebox.errors import UserError
from mmwhitebox.models.segmentors.alignment import covered_size, enlarge_logits

Size = tuple[int, int]


class LogitsNetwork(nn.Module):
    """Normalised images to logits: what is exported of a segmentor or a classifier.

    Args:
        model (BaseModel): mmseg's ``EncoderDecoder`` or mmpretrain's ``ImageClassifier``.
    """

    output = 'logits'

    def __init__(self, model: BaseModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> Tensor:
        """Class logits of every pixel, (B, C, H, W), or of the image, (B, C).

        Args:
            images (Tensor): Normalised images, (B, 3, H, W) float32; a network in half precision casts them, and its
                logits to float32.
        """
        features = self.model.extract_feat(images.to(next(self.model.parameters()).dtype))
        if not hasattr(self.model, 'decode_head'):
            return self.model.head(features).float()
        size = tuple(images.shape[2:])
        return enlarge_logits(self.model.decode_head(features).float(), covered_size(self.model.backbone, size), size,
                              self.model.align_corners)

    @torch.no_grad()
    def inferred(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Logits, and what decides about them: themselves."""
        logits = self(images)
        return logits, logits

    def random_images(self, batch: int, size: Size, generator: Generator | None = None) -> Tensor:
        """Images to trace and to compare with."""
        return torch.randn(batch, in_channels(self.model), *size, generator=generator)

    def free_dimensions(self) -> dict[int, Dim]:
        """The dimensions of the images that a dynamic graph leaves open: any batch, two patches or more."""
        sides = {axis: patch * Dim(name, min=2) if patch > 1 else Dim(name, min=2)
                 for axis, patch, name in zip((2, 3), patch_size(self.model.backbone), ('rows', 'columns'))}
        return {0: Dim('batch', min=1), **sides}

    def sizes_to_compare(self, size: Size, dynamic: bool) -> list[Size]:
        """The size and, of a dynamic graph, another one; one of them is not square.

        Raises:
            UserError: The size is no multiple of the patch, or too small.
        """
        (h, w), (ph, pw) = size, patch_size(self.model.backbone)
        least = 2 if dynamic else 1
        if h % ph or w % pw:
            raise UserError(f'The image size {h} x {w} is not a multiple of the patch ({ph} x {pw}). Give --size '
                            f'{max(round(h / ph), least) * ph} {max(round(w / pw), least) * pw}, for example.')
        if h < least * ph or w < least * pw:
            raise UserError(f'The image size {h} x {w} is too small: the least is {least * ph} x {least * pw}.')
        return [(h, w), (max(h - ph, 2 * ph), w + 2 * pw)] if dynamic else [(h, w)]


def default_size(cfg: Config) -> Size:
    """Image size (H, W) a config is made for: its crop, its position table, or 224."""
    size = cfg.model.get('data_preprocessor', {}).get('size') or cfg.model.backbone.get('img_size') or 224
    return (size, size) if isinstance(size, int) else tuple(size)


def patch_size(backbone: nn.Module) -> Size:
    """Patch (height, width) of an encoder; (1, 1) of one without patches."""
    patch = getattr(backbone, 'patch_size', 1)
    return (patch, patch) if isinstance(patch, int) else tuple(patch)


def in_channels(model: BaseModel) -> int:
    """Channels of the images that a model of :func:`mmwhitebox.apis.init_model` takes."""
    return model.cfg.model.backbone.get('in_channels', 3)


def in_precision(model: BaseModel, dtype: str) -> BaseModel:
    """A copy of a model whose network has another type ('float16', ...); how images are normalised stays as it is."""
    model = copy.deepcopy(model)
    for name, part in model.named_children():
        if name != 'data_preprocessor':
            part.to(getattr(torch, dtype))
    return model
