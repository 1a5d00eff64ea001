"""Logits where their patches are: an encoder that pads images to whole patches covers more than the image.

An image of 512 x 512 pixels takes 37 x 37 patches of 14 pixels, which cover 518 x 518. Its logits are therefore
enlarged to 518 x 518 and cut to 512 x 512, as the published Segmenter, DEPICT and CBT code does; stretched over
512 x 512 they would lie up to 6 pixels beside what they say something about.

An encoder that pads declares it by a method ``covered_size(size)``, as this package's do. Others (ResNet, Swin, ...)
have none: their features are taken to cover the image, which is what mmseg does with all of them.
"""

import torch
import torch.nn.functional as F
from mmengine.structures import PixelData
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from mmseg.structures import SegDataSample
from mmseg.utils import SampleList
from torch import Tensor, nn

Size = tuple[int, int]


def covered_size(backbone: nn.Module, size: Size) -> Size:
    """Pixels (height, width) from the top left that an encoder's features of images of ``size`` cover."""
    declared = getattr(backbone, 'covered_size', None)
    height, width = size
    return declared((height, width)) if declared is not None else (height, width)


def enlarge_logits(logits: Tensor, covered: Size, size: Size, align_corners: bool) -> Tensor:
    """Logits of every pixel.

    Args:
        logits (Tensor): (B, K, h, w).
        covered (tuple[int, int]): Pixels that they cover, at least ``size``.
        size (tuple[int, int]): Height and width H, W of the image.
        align_corners (bool): Of the bilinear interpolation.

    Returns:
        Tensor: (B, K, H, W).
    """
    return F.interpolate(logits, covered, mode='bilinear', align_corners=align_corners)[..., :size[0], :size[1]]


def head_loss(head: BaseDecodeHead, features: tuple[Tensor, ...], samples: SampleList, train_cfg: dict,
              backbone: nn.Module) -> dict:
    """Losses of a head, its logits where their patches are.

    A head with a ``loss`` of its own, or with several outputs, gets labels of the size that the features cover
    instead, ``ignore_index`` in the rows and columns beyond the image.

    Args:
        head (BaseDecodeHead): Decode head or auxiliary head.
        features (tuple[Tensor]): Of the encoder, or of the neck after it.
        samples (list[SegDataSample]): With ``gt_sem_seg`` of the size of the image.
        train_cfg (dict): mmseg's.
        backbone (nn.Module): The encoder.

    Returns:
        dict: mmseg's. ``acc_seg`` of a one-channel head is the share of right pixels by its threshold; mmseg's is
        the share of the background.
    """
    size = tuple(samples[0].gt_sem_seg.shape[-2:])
    covered = covered_size(backbone, size)
    one_channel = getattr(head, 'out_channels', None) == 1
    if covered == size and not one_channel:
        return head.loss(features, samples, train_cfg)
    if type(head).loss is not BaseDecodeHead.loss:
        return head.loss(features, [pad_labels(sample, covered, head.ignore_index) for sample in samples], train_cfg)
    logits = head.forward(features)
    if not isinstance(logits, Tensor):
        return head.loss_by_feat(logits, [pad_labels(sample, covered, head.ignore_index) for sample in samples])
    logits = enlarge_logits(logits, covered, size, head.align_corners)
    losses = head.loss_by_feat(logits, samples)
    if one_channel and 'acc_seg' in losses:
        losses['acc_seg'] = binary_accuracy(logits, samples, head.threshold, head.ignore_index)
    return losses


def binary_accuracy(logits: Tensor, samples: SampleList, threshold: float, ignore_index: int) -> Tensor:
    """Percent of the labelled pixels that a one-channel head, (B, 1, H, W), has right: (1,)."""
    labels = torch.stack([sample.gt_sem_seg.data for sample in samples])
    counted = labels != ignore_index
    right = (logits.sigmoid() > threshold) == labels.bool()
    return 100 * right[counted].float().sum().reshape(1) / counted.sum().clamp_min(1)


def pad_labels(sample: SegDataSample, size: Size, ignore_index: int) -> SegDataSample:
    """A copy of a sample whose ``gt_sem_seg`` has ``size``, ``ignore_index`` at the right and the bottom."""
    labels = sample.gt_sem_seg.data
    beyond = (0, size[1] - labels.shape[-1], 0, size[0] - labels.shape[-2])
    padded = SegDataSample(metainfo={**sample.metainfo, 'img_shape': size, 'pad_shape': size})
    padded.gt_sem_seg = PixelData(data=F.pad(labels, beyond, value=ignore_index))
    return padded
