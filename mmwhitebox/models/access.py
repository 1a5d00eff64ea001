"""A model as others hold it: inside wrappers, with its scores behind a head."""
from typing import Any

import torch
from mmpretrain.models import SelfSupDataPreprocessor
from torch import Tensor, nn

from mmwhitebox.errors import UserError


def unwrap(model: nn.Module) -> nn.Module:
    """The model inside distributed training, test-time augmentation and torch.compile, whatever is around it."""
    while True:
        inner = getattr(model, '_orig_mod', getattr(model, 'module', None))
        if not isinstance(inner, nn.Module):
            return model
        model = inner


def adopt_teacher(model: nn.Module) -> None:
    """Let a student be its teacher, which is what is used after such a training; other models stay as they are."""
    if hasattr(model, 'student') and hasattr(model, 'teacher'):
        model.student.load_state_dict(model.teacher.module.state_dict())


def shown_part(model: nn.Module) -> nn.Module:
    """The part of a model that is looked at: of a student and its teacher the student, see :func:`adopt_teacher`."""
    return getattr(model, 'student', model)


def preprocessed(model: nn.Module, inputs: list[Tensor], data_samples: list) -> dict:
    """What a model's data preprocessor makes of a batch of testing: ``inputs`` (B, C, H, W) and ``data_samples``.

    mmpretrain's preprocessor of self-supervised models takes a list to be views of the same images, so it gets images
    of one size as one tensor.
    """
    views = isinstance(model.data_preprocessor, SelfSupDataPreprocessor)
    batch = torch.stack(list(inputs)) if views else inputs
    return model.data_preprocessor(dict(inputs=batch, data_samples=data_samples), False)


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
        model (nn.Module): A segmentor (mmseg), a classifier (mmpretrain), a CRATEMAE or a SimDINO, without wrappers.
        images (Tensor): Normalised images, (B, channels, height, width).

    Returns:
        Tensor: Masks at the resolution of the head, (B, classes, h, w), or class scores, (B, classes); of a
        masked autoencoder the pixels of every patch, nothing removed, (B, N, P*P*C); of a student and its teacher
        what they compare, (B, p).
    """
    if hasattr(model, 'student'):
        return shown_part(model)(images)
    if hasattr(model, 'predict_pixels'):
        return model.predict_pixels(images)
    return (model.decode_head if hasattr(model, 'decode_head') else model.head)(model.extract_feat(images))


def image_features(model: nn.Module, features: Any) -> Tensor:
    """One vector for each image, (B, D) float32, of what ``model.extract_feat`` gives.

    It is the last output: a vector (class token, mean) as it is, of a map (B, D, h, w) the mean over its places, of
    tokens (B, E + N, D) the mean over the N patches; E is ``num_extra_tokens`` of the backbone, 0 without.

    Raises:
        UserError: It is none of these.
    """
    last = features
    while isinstance(last, (tuple, list)) and last:
        last = last[-1]
    if not isinstance(last, Tensor) or not 2 <= last.ndim <= 4:
        what = tuple(last.shape) if isinstance(last, Tensor) else type(last).__name__
        raise UserError(f'extract_feat of {type(model).__name__} ends with {what}: features are vectors (B, D), tokens '
                        '(B, N, D) or maps (B, D, h, w).')
    if last.ndim == 3:
        last = last[:, getattr(getattr(model, 'backbone', None), 'num_extra_tokens', 0):].mean(1)
    elif last.ndim == 4:
        last = last.mean((2, 3))
    return last.float()
