"""A model as others hold it: inside wrappers, with its scores behind a head."""
from torch import Tensor, nn


def unwrap(model: nn.Module) -> nn.Module:
    """The model inside distributed training, test-time augmentation and torch.compile, whatever is around it."""
    while True:
        inner = getattr(model, '_orig_mod', getattr(model, 'module', None))
        if not isinstance(inner, nn.Module):
            return model
        model = inner


class Network(nn.Module):
    """Image to class scores, without pre- and post-processing: :func:`logits` as a module."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> Tensor:
        return logits(self.model, images)


def logits(model: nn.Module, images: Tensor) -> Tensor:
    """Class scores of whole images, through backbone, neck and head; no sliding window, no post-processing.

    Args:
        model (nn.Module): A segmentor (mmseg), a classifier (mmpretrain) or a CRATEMAE, without wrappers.
        images (Tensor): Normalised images, (B, channels, height, width).

    Returns:
        Tensor: Masks at the resolution of the head, (B, classes, h, w), or class scores, (B, classes); of a
        masked autoencoder the pixels of every patch, nothing removed, (B, N, P*P*C).
    """
    if hasattr(model, 'predict_pixels'):
        return model.predict_pixels(images)
    return (model.decode_head if hasattr(model, 'decode_head') else model.head)(model.extract_feat(images))
