"""Labels that do not count: of the masks, the padding, the losses, the metrics."""
from collections.abc import Iterator

from mmcv.transforms import Pad, RandomChoiceResize, RandomResize
from mmengine.config import Config
from mmengine.registry import MODELS
from mmseg.datasets import BaseSegDataset
from mmseg.datasets.transforms import RandomMosaic, RandomRotate
from mmseg.models.data_preprocessor import SegDataPreProcessor
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from mmseg.models.losses import HuasdorffDisstanceLoss, TverskyLoss
from mmseg.models.segmentors.base import BaseSegmentor

from mmwhitebox.config_parts import Part, datasets, get, metrics, model_part, parts, pipelines, preprocessor_part
from mmwhitebox.datasets.transforms import LoadSegAnnotation

from .classes import BOUNDARY_HEADS
from .scores import gives_iou

STACKS = 255  # what reduce_zero_label and a selection of classes make of the rest


def ignored_label_problems(cfg: Config, splits: tuple[str, ...]) -> Iterator[str]:
    """Ignored labels of the masks and the padding that a loss or a metric takes for a class, or cannot take."""
    model = model_part(cfg)
    if model is None or not model.known or not issubclass(model.cls, BaseSegmentor):
        return
    heads = [part for key in ('decode_head', 'auxiliary_head')
             for part in parts(f'{model.path}.{key}', model.cfg.get(key), MODELS)
             if part.known and issubclass(part.cls, BaseDecodeHead) and part.cls.__name__ not in BOUNDARY_HEADS
             and part.cls.loss_by_feat is BaseDecodeHead.loss_by_feat]
    if 'train' in splits:
        sources = {**of_masks(cfg, 'train'), **of_padding(cfg, model)}
        for head in heads:
            yield from _unheard(sources, head, 'ignore_index', head.argument('num_classes'))
            yield from _losses(head)
    for split in splits:
        if split == 'train':
            continue
        sources = of_masks(cfg, split)
        for head in heads[:1]:
            label, count = head.cfg.get('ignore_index'), head.argument('num_classes')
            if isinstance(label, int) and isinstance(count, int) and not 0 <= label < count:
                sources.setdefault(label, f'{head.path}.ignore_index={label}')
        for metric in metrics(cfg, split):
            if gives_iou(metric) and not metric.cfg.get('format_only'):
                yield from _unheard(sources, metric, 'ignore_index', None)


def of_masks(cfg: Config, split: str) -> dict[int, str]:
    """Ignored labels that the masks of a split are said to hold, with the place that says so."""
    found: dict[int, str] = {}
    for part in datasets(cfg, split):
        if part.cls is None or not issubclass(part.cls, BaseSegDataset) or not part.known:
            continue
        if part.argument('reduce_zero_label'):
            found.setdefault(STACKS, f'{part.path}: reduce_zero_label makes label 0 to {STACKS}')
        chosen, there = get(part.cfg, 'metainfo.classes'), part.cls.METAINFO.get('classes')
        if there and isinstance(chosen, (list, tuple)) and len(chosen) < len(there):
            found.setdefault(STACKS, f'{part.path}.metainfo.classes leaves out classes, whose label becomes {STACKS}')
    for step in pipelines(cfg, split):
        if step.cls is not None and issubclass(step.cls, LoadSegAnnotation) and 'ignore_index' in step.cfg:
            found.setdefault(step.cfg['ignore_index'], f'{step.path}.ignore_index={step.cfg["ignore_index"]}')
    return found


def of_padding(cfg: Config, model: Part) -> dict[int, str]:
    """Labels with which masks are padded in training: where a step pads, or images of random size fill a batch."""
    found: dict[int, str] = {}
    preprocessor = preprocessor_part(cfg, model)
    resized = any(step.cls in (RandomResize, RandomChoiceResize) for step in pipelines(cfg, 'train'))
    if resized and preprocessor is not None and issubclass(preprocessor.cls or object, SegDataPreProcessor):
        value = preprocessor.argument('seg_pad_val')
        found[value] = f'{preprocessor.path}.seg_pad_val={value}'
    for step in pipelines(cfg, 'train'):
        if step.cfg.get('prob') == 0:
            continue
        value, key = None, 'seg_pad_val'
        if step.cls in (RandomRotate, RandomMosaic):
            value = step.argument('seg_pad_val')
        elif step.cls is Pad:
            given = step.cfg.get('pad_val', {})
            value, key = (given.get('seg', STACKS) if isinstance(given, dict) else STACKS), 'pad_val.seg'
        if isinstance(value, int):
            found.setdefault(value, f'{step.path}.{key}={value}')
    return found


def _unheard(sources: dict[int, str], part: Part, key: str, num_classes: int | None) -> Iterator[str]:
    """Ignored labels that a part does not ignore, unless they are one of its classes."""
    own = part.argument(key)
    if not isinstance(own, int):
        return
    for label, place in sources.items():
        if label != own and not (isinstance(num_classes, int) and 0 <= label < num_classes):
            yield f'{place}, but {part.path}.{key}={own}: it would count. Use one label for what is ignored.'


def _losses(head: Part) -> Iterator[str]:
    """Losses that go by an ignored label of their own, not by the head's."""
    for loss in parts(f'{head.path}.loss_decode', head.cfg.get('loss_decode'), MODELS):
        own, wanted = loss.argument('ignore_index'), head.argument('ignore_index')
        if loss.cls in (TverskyLoss, HuasdorffDisstanceLoss) and isinstance(wanted, int) and own != wanted:
            yield f'{loss.path}.ignore_index={own}, but {head.path}.ignore_index={wanted}: make them the same.'
