"""mmseg's cross-entropy and focal loss, mended where mmseg's raise an error or weigh another axis.

They take the place of mmseg's under mmseg's own names: ``type='CrossEntropyLoss'`` and ``type='FocalLoss'`` of a
segmentation config are these as soon as mmwhitebox is imported. Whatever mmseg computes without an error is the same.
"""
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmseg.models.losses import CrossEntropyLoss as MMSegCrossEntropyLoss
from mmseg.models.losses import FocalLoss as MMSegFocalLoss
from mmseg.models.losses.cross_entropy_loss import binary_cross_entropy, cross_entropy
from mmseg.registry import MODELS as MMSEG_MODELS
from torch import Tensor

from mmwhitebox.errors import ConfigError
from mmwhitebox.registry import MODELS


def check_length(class_weight: Sequence[float] | None, logits: Tensor) -> None:
    """Raise a ConfigError unless there is a weight for every channel of the logits (B, C, ...)."""
    if class_weight is not None and len(class_weight) != logits.shape[1]:
        raise ConfigError(f'loss_decode.class_weight has {len(class_weight)} values and the head {logits.shape[1]} '
                          'outputs: give one for each.')


def weighted_cross_entropy(pred: Tensor, label: Tensor, weight: Tensor | None = None,
                           class_weight: Tensor | None = None, avg_non_ignore: bool = False, **kwargs) -> Tensor:
    """mmseg's. A weighted mean is over the pixels that are not ignored anyway; asked for that, mmseg's fails."""
    return cross_entropy(pred, label, weight, class_weight=class_weight,
                         avg_non_ignore=avg_non_ignore and class_weight is None, **kwargs)


def weighted_binary_cross_entropy(pred: Tensor, label: Tensor, weight: Tensor | None = None,
                                  class_weight: Tensor | None = None, **kwargs) -> Tensor:
    """mmseg's, whose class weights of maps (B, C, H, W) lie on the width instead of the classes.

    A batch of one channel in which every pixel is ignored has the loss 0, as with several channels; mmseg's fails.
    """
    if class_weight is not None and pred.dim() > 2:
        class_weight = class_weight.view(-1, *[1] * (pred.dim() - 2))
    if pred.shape[1] == 1 and label.dim() < pred.dim() and (label == kwargs.get('ignore_index', -100)).all():
        loss = pred[:, 0] * 0
        return loss if kwargs.get('reduction', 'mean') == 'none' else loss.sum()
    return binary_cross_entropy(pred, label, weight, class_weight=class_weight, **kwargs)


@MODELS.register_module()
@MMSEG_MODELS.register_module(force=True)
class CrossEntropyLoss(MMSegCrossEntropyLoss):
    """mmseg's cross-entropy whose ``class_weight`` works with ``avg_non_ignore=True`` and ``use_sigmoid=True``.

    With ``class_weight`` w the mean is torch's, sum of w_label * loss over sum of w_label, ignored pixels in neither;
    with ``use_sigmoid`` w weighs the pixels of the class against all others (``pos_weight``). Arguments as in mmseg.

    Raises:
        ConfigError: At the first step: the number of weights is not that of the outputs.
    """

    def __init__(self, *args, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        if self.use_sigmoid:
            self.cls_criterion = weighted_binary_cross_entropy
        elif not self.use_mask:
            self.cls_criterion = weighted_cross_entropy

    def forward(self, cls_score: Tensor, *args, **kwargs) -> Tensor:
        """Loss of logits (B, C, H, W) and labels (B, H, W); as in mmseg."""
        check_length(self.class_weight, cls_score)
        return super().forward(cls_score, *args, **kwargs)


@MODELS.register_module()
@MMSEG_MODELS.register_module(force=True)
class FocalLoss(MMSegFocalLoss):
    """mmseg's focal loss, which works without a GPU, and with the pixel weights of a sampler.

    The mean is over all pixels and classes, those of ignored pixels counted as zero, as mmseg's on a GPU.
    Arguments as in mmseg.

    Raises:
        ConfigError: At the first step: the number of class weights is not that of the outputs.
    """

    def forward(self, pred: Tensor, target: Tensor, weight: Tensor | None = None,
                avg_factor: float | None = None, reduction_override: str | None = None, ignore_index: int = 255,
                **kwargs) -> Tensor:
        """Loss of logits (B, C, H, W) and labels (B, H, W), or probabilities of their shape; as in mmseg."""
        check_length(self.class_weight, pred)
        if weight is not None:  # of every pixel, or of every output
            weight = weight.movedim(1, -1).flatten(0, -2) if weight.shape == pred.shape else weight.reshape(-1)
        if target.dim() == pred.dim() - 1 and not pred.is_cuda:
            valid = target != ignore_index
            classes = F.one_hot(torch.where(valid, target, 0), max(pred.shape[1], 2)).movedim(-1, 1)
            target = classes[:, -pred.shape[1]:] * valid[:, None]  # of a single output, the upper of two classes
            valid = valid.reshape(-1).to(pred)
            weight = valid if weight is None else weight * (valid if weight.dim() == 1 else valid[:, None])
            ignore_index = -1  # ignored by their weight; mmseg would look for the label among the outputs
        return super().forward(pred, target, weight, avg_factor, reduction_override, ignore_index, **kwargs)
