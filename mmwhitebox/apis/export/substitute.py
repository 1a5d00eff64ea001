"""An exported file in the place of the network of a segmentor or a classifier.

What a model does around its network stays as it is: the data preprocessor, whole images or windows, labels out of
logits at the original size. So a file is scored as its model is, on the same images.
"""
import torch
import torch.nn.functional as F
from mmengine.model import BaseModel
from mmpretrain.models import ClsHead
from torch import Tensor, nn

from mmwhitebox.errors import UserError

from .reading import ExportedModel


def padded(images: Tensor, multiple: tuple[int, int]) -> Tensor:
    """Images with zeros at the right and the bottom, to whole patches, as an encoder pads them itself.

    A stem of several convolutions pads none; beside this edge its logits are slightly other ones.

    Args:
        images (Tensor): (B, C, H, W).
        multiple (tuple[int, int]): Of the height and of the width.
    """
    below, right = (-length % patch for length, patch in zip(images.shape[2:], multiple))
    return F.pad(images, (0, right, 0, below)) if below or right else images


class ExportedNetwork(nn.Module):
    """An exported file as a backbone; its last and only feature are the logits.

    Args:
        exported (ExportedModel): Of normalised images to logits.
    """

    def __init__(self, exported: ExportedModel) -> None:
        super().__init__()
        self.exported = exported

    def forward(self, images: Tensor) -> tuple[Tensor]:
        """Logits, (B, K, H, W) or (B, K), of normalised images (B, C, H, W).

        Raises:
            UserError: The file takes images of another size.
        """
        card, size = self.exported.card, tuple(images.shape[2:])
        images = padded(images, card['size_multiple_of'])
        check_image_size(card, images)
        batch = card['batch_size'] if isinstance(card['batch_size'], int) else len(images)
        missing = -len(images) % batch
        filled = F.pad(images, (0, 0, 0, 0, 0, 0, 0, missing))
        logits = torch.cat([self.exported(part) for part in filled.split(batch)])[:len(images)].to(images.device)
        return (logits[..., :size[0], :size[1]] if logits.ndim == 4 else logits, )


def check_image_size(card: dict, images: Tensor) -> None:
    """Raise a UserError if a file of one size gets images, (B, C, H, W), of another one."""
    if card['dynamic']:
        return
    given, taken = tuple(images.shape[2:]), tuple(card['input_size'])
    if given != taken:
        raise UserError(f'The file takes images of {taken[0]} x {taken[1]}; those of the data set come to it as '
                        f'{given[0]} x {given[1]}. Export it with --dynamic, or with --size {given[0]} {given[1]} if '
                        'all come so.')


def check_task(card: dict, task: str, num_classes: int) -> None:
    """Raise a UserError unless a card is of this task and of so many classes."""
    if not {'task', 'classes', 'dynamic', 'batch_size', 'input_size', 'size_multiple_of'} <= card.keys():
        raise UserError('The file has no model card, which says its classes and its images: export it again with '
                        'mmwhitebox export.')
    if card['task'] != task or len(card['classes']) != num_classes:
        raise UserError(f'The file is of {card["task"]} with {len(card["classes"])} classes, the config of {task} with '
                        f'{num_classes}: take the config that it was exported with ({card.get("config")}).')


class GivenLogits(nn.Module):
    """In the place of a decode head: its features are the logits already.

    Args:
        head (nn.Module): The head that made them. Of one channel, its ``threshold`` is kept.
    """

    def __init__(self, head: nn.Module) -> None:
        super().__init__()
        self.threshold = getattr(head, 'threshold', None)

    def predict(self, features: tuple[Tensor], *args) -> Tensor:
        """The logits, (B, K, H, W); further arguments are mmseg's."""
        return features[-1]


def substitute(model: BaseModel, exported: ExportedModel) -> None:
    """Let an exported file compute the logits of a model.

    Args:
        model (BaseModel): A segmentor or a classifier, which is changed.
        exported (ExportedModel): From :func:`load_exported`.

    Raises:
        UserError: The file gives labels, no logits; it has no card, or is of another task or of other classes.
    """
    if exported.card.get('processing'):
        raise UserError('The file takes pictures and gives labels, so the pipeline and the windows of a config have no '
                        'place around it. Export it without processing to score it.')
    segments = hasattr(model, 'decode_head')
    check_task(exported.card, 'segmentation' if segments else 'classification',
               (model.decode_head if segments else model.head).num_classes)
    if segments:
        model.decode_head = GivenLogits(model.decode_head)
    else:
        model.head = ClsHead()  # mmpretrain's head without a layer: its features are the scores
    model.backbone, model.neck = ExportedNetwork(exported), None
