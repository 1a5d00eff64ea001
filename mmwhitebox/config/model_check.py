"""Do the parts of a model fit each other? Asked of the built model, before any data is read."""
from collections.abc import Iterator

from mmpretrain.models.heads import LinearClsHead, StackedLinearClsHead
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from torch import nn

from mmwhitebox.config_parts import HEADS
from mmwhitebox.errors import ConfigError
from mmwhitebox.models.access import unwrap

CLS_OUT_TYPES = ('cls_token', 'avg_featmap')


def heads_of(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """The heads of a segmentor or classifier with their paths in the config."""
    for name in HEADS:
        head = getattr(model, name, None)
        if isinstance(head, nn.ModuleList):
            yield from ((f'{name}.{i}', part) for i, part in enumerate(head))
        elif head is not None:
            yield name, head


def check_head(path: str, head: nn.Module, channels: tuple[int, ...], backbone: str) -> str | None:
    """What is wrong with the inputs of a head of a segmentor; None if nothing is."""
    if not isinstance(head, BaseDecodeHead):
        return None
    index, expected = head.in_index, head.in_channels
    indices = list(index) if isinstance(index, (list, tuple)) else [index]
    wrong = [i for i in indices if not -len(channels) <= i < len(channels)]
    if wrong:
        return (f'model.{path}.in_index={index}: {backbone} gives {len(channels)} feature map'
                f'{"s" if len(channels) > 1 else ""}, numbers 0 to {len(channels) - 1} '
                '(more with model.backbone.out_indices).')
    given = [channels[i] for i in indices]
    transform = head.input_transform
    fits = list(expected) == given if transform == 'multiple_select' else expected == sum(given)
    if not fits:
        wanted = given if transform else given[0]
        return (f'model.{path}.in_channels: backbone gives {wanted} ({backbone}), the head takes {expected}: '
                f'set {path}.in_channels={wanted}.')
    return None


def check_model(model: nn.Module) -> None:
    """Compare what the backbone gives with what the heads take.

    Only a backbone that declares ``out_channels``, one number for each output, is compared, only without a neck, and
    only with heads that take its outputs as mmseg's and mmpretrain's linear ones do.

    Args:
        model (nn.Module): A segmentor or classifier, wrapped for data-parallel training or not.

    Raises:
        ConfigError: Another number of channels, an ``in_index`` out of range, an ``out_type`` of the other task, bands
            of mean and std that are not those of the backbone.
    """
    model = unwrap(model)
    backbone = getattr(model, 'backbone', None)
    channels, out_type = getattr(backbone, 'out_channels', None), getattr(backbone, 'out_type', None)
    if not isinstance(channels, tuple) or getattr(model, 'neck', None) is not None:
        return
    name = type(backbone).__name__
    problems: list[str | None] = []
    if hasattr(model, 'decode_head'):
        if out_type != 'featmap':
            problems.append(f"model.backbone.out_type={out_type!r}: the head of a segmentor takes feature maps: set "
                            "backbone.out_type='featmap'.")
        problems += [check_head(path, head, channels, name) for path, head in heads_of(model)]
    else:
        for path, head in heads_of(model):
            if not isinstance(head, (LinearClsHead, StackedLinearClsHead)):
                continue
            expected = head.in_channels
            if out_type == 'featmap':
                problems.append(f"model.backbone.out_type='featmap': a classifier without a neck takes one of "
                                f'{CLS_OUT_TYPES}.')
            elif expected != channels[-1]:
                problems.append(f'model.{path}.in_channels: backbone gives {channels[-1]} ({name}), the head takes '
                                f'{expected}: set {path}.in_channels={channels[-1]}.')
    bands = getattr(getattr(model, 'data_preprocessor', None), 'mean', None)
    taken = getattr(backbone, 'in_channels', None)
    if bands is not None and taken is not None and len(bands) not in (1, taken):
        problems.append(f'model.data_preprocessor.mean has {len(bands)} values and {name} takes images of {taken} '
                        f'channels: set backbone.in_channels={len(bands)}.')
    found = [problem for problem in problems if problem]
    if found:
        raise ConfigError(' '.join(found))
