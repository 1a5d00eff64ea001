"""A model as others hold it: inside wrappers, with its scores behind a head."""
from torch import Tensor, nn


def unwrap(model: nn.Module) -> nn.Module:
    """The model inside distributed training, test-time augmentation and torch.compile, whatever is around it."""
    while True:
        inner = getattr(model, '_orig_mod', getattr(model, 'module', None))
        if not isinstance(inner, nn.Module):
            return model
        model = inner


def logits(model: nn.Module, images: Tensor) -> Tensor:
    """Class scores of a segmentor, (B, classes, h, w) as its decoder gives them, or of a classifier, (B, classes).

    Args:
        model (nn.Module): The model, without wrappers.
        images (Tensor): Normalised images, (B, channels, height, width).
    """
    return (model.decode_head if hasattr(model, 'decode_head') else model.head)(model.backbone(images))
