"""What is exported of a model: a network of images to logits, and the sizes of images it takes."""
from mmengine.config import Config
from mmengine.model import BaseModel
from torch import Tensor, nn

from mmwhitebox.errors import UserError
from mmwhitebox.models.segmentors.alignment import covered_size, enlarge_logits


class LogitsNetwork(nn.Module):
    """Normalised images to logits: what is exported of a segmentor or a classifier.

    Args:
        model (BaseModel): mmseg's ``EncoderDecoder`` or mmpretrain's ``ImageClassifier``.
    """

    def __init__(self, model: BaseModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> Tensor:
        """Class logits of every pixel, (B, C, H, W), or of the image, (B, C).

        Args:
            images (Tensor): Normalised images, (B, 3, H, W).
        """
        features = self.model.extract_feat(images)
        if not hasattr(self.model, 'decode_head'):
            return self.model.head(features)
        size = tuple(images.shape[2:])
        return enlarge_logits(self.model.decode_head(features), covered_size(self.model.backbone, size), size,
                              self.model.align_corners)


def default_size(cfg: Config) -> tuple[int, int]:
    """Image size (H, W) a config is made for: its crop, its position table, or 224."""
    size = cfg.model.get('data_preprocessor', {}).get('size') or cfg.model.backbone.get('img_size') or 224
    return (size, size) if isinstance(size, int) else tuple(size)


def patch_size(backbone: nn.Module) -> tuple[int, int]:
    """Patch (height, width) of an encoder; (1, 1) of one without patches."""
    patch = getattr(backbone, 'patch_size', 1)
    return (patch, patch) if isinstance(patch, int) else tuple(patch)


def check_sizes(size: tuple[int, int], patch: tuple[int, int], dynamic: bool) -> list[tuple[int, int]]:
    """Sizes to compare on: the size and, of a dynamic graph, another one; one of them is not square.

    Raises:
        UserError: The size is no multiple of the patch, or too small.
    """
    (h, w), (ph, pw) = size, patch
    least = 2 if dynamic else 1
    if h % ph or w % pw:
        raise UserError(f'The image size {h} x {w} is not a multiple of the patch ({ph} x {pw}). Give --size '
                        f'{max(round(h / ph), least) * ph} {max(round(w / pw), least) * pw}, for example.')
    if h < least * ph or w < least * pw:
        raise UserError(f'The image size {h} x {w} is too small: the least is {least * ph} x {least * pw}.')
    return [(h, w), (max(h - ph, 2 * ph), w + 2 * pw)] if dynamic else [(h, w)]
