"""Numbers of classes: of the data, the steps that read masks, the heads, the metrics."""
from collections.abc import Iterator
from typing import NamedTuple

from mmengine.config import Config
from mmengine.registry import MODELS
from mmpretrain.evaluation import Accuracy, SingleLabelMetric
from mmpretrain.models import ClsHead, ImageClassifier, MultiLabelClsHead
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from mmseg.models.segmentors.base import BaseSegmentor

from mmwhitebox.config_parts import (
    Part,
    datasets,
    make_part,
    metrics,
    model_part,
    parts,
    pipelines,
    preprocessor_part,
)
from mmwhitebox.datasets.class_names import known_classes
from mmwhitebox.datasets.transforms import LoadSegAnnotation
from mmwhitebox.errors import joined

BOUNDARY_HEADS = {'STDCHead'}  # their classes are those of an edge map


class Claim(NamedTuple):
    """A place that says how many classes there are, and the numbers that it allows, the first one its own."""
    place: str
    counts: tuple[int, ...]


def class_problems(cfg: Config, splits: tuple[str, ...]) -> Iterator[str]:
    """Places with different numbers of classes, names in two orders, a topk larger than the number of classes."""
    heads = list(head_claims(cfg))
    data: list[Claim] = []
    names: dict[str, list[str]] = {}
    for part in (part for split in splits for part in datasets(cfg, split)):
        classes = known_classes(part)
        if classes:
            names[part.path] = classes
            data.append(Claim(part.name, (len(classes), )))
    loaders = [Claim(f'{step.path}.num_classes', (step.cfg['num_classes'], )) for split in splits
               for step in pipelines(cfg, split) if _reads_masks(step)]
    scores = [Claim(f'{part.path}.num_classes', (part.cfg['num_classes'], )) for split in splits
              for part in metrics(cfg, split)
              if part.cls is SingleLabelMetric and isinstance(part.cfg.get('num_classes'), int)]
    yield from _differing(data, [*heads, *loaders, *scores])
    yield from _reordered(names)
    yield from _too_many_best(cfg, splits, heads)


def head_claims(cfg: Config) -> Iterator[Claim]:
    """What the heads of a model say, as far as their classes are ours or of the stack."""
    model = model_part(cfg)
    if model is None or not model.known:
        return
    if issubclass(model.cls, BaseSegmentor):
        for key in ('decode_head', 'auxiliary_head'):
            for part in parts(f'{model.path}.{key}', model.cfg.get(key), MODELS):
                yield from _decode_head_claim(part)
    elif issubclass(model.cls, ImageClassifier):
        head = make_part(f'{model.path}.head', model.cfg.get('head'), MODELS)
        if head is not None and head.known and isinstance(head.argument('num_classes'), int):
            yield Claim(f'{head.path}.num_classes', (head.argument('num_classes'), ))
        preprocessor = preprocessor_part(cfg, model)
        if preprocessor is not None and preprocessor.known and isinstance(preprocessor.cfg.get('num_classes'), int):
            mixes = (model.cfg.get('train_cfg') or {}).get('augments') or preprocessor.cfg.get('to_onehot')
            if mixes:
                yield Claim(f'{preprocessor.path}.num_classes', (preprocessor.cfg['num_classes'], ))


def _decode_head_claim(part: Part) -> Iterator[Claim]:
    if not part.known or part.cls.__name__ in BOUNDARY_HEADS:
        return
    inner = part.cfg.get('kernel_generate_head')  # of K-Net
    if isinstance(inner, dict):
        yield from _decode_head_claim(make_part(f'{part.path}.kernel_generate_head', inner, MODELS))
        return
    count = part.argument('num_classes')
    if isinstance(count, int):
        one_channel = issubclass(part.cls, BaseDecodeHead) and part.argument('out_channels') == 1
        yield Claim(f'{part.path}.num_classes', (2, 1) if one_channel and count == 1 else (count, ))


def _reads_masks(step: Part) -> bool:
    return (step.cls is not None and issubclass(step.cls, LoadSegAnnotation)
            and isinstance(step.cfg.get('num_classes'), int))


def _differing(data: list[Claim], others: list[Claim]) -> Iterator[str]:
    claims = [*data, *others]
    if not claims or set.intersection(*(set(claim.counts) for claim in claims)):
        return
    wanted = (data or others)[0].counts[0]
    agreeing = [claim.place for claim in claims if wanted in claim.counts]
    wrong = [claim for claim in claims if wanted not in claim.counts]
    have = 'has' if len(agreeing) == 1 else 'have'
    yield (f'Numbers of classes differ: {joined(agreeing)} {have} {wanted}, but '
           + joined([f'{claim.place} {claim.counts[0]}' for claim in wrong])
           + ('. Data and model must agree: set '
              + joined([f'{claim.place}={wanted}' for claim in wrong]) + ', or correct the classes of the data.'
              if data and wrong[0] in others else '. Correct the one that is wrong.'))


def _reordered(names: dict[str, list[str]]) -> Iterator[str]:
    """Data sets with the same classes in two orders."""
    first = next(iter(names), None)
    for path, classes in names.items():
        wanted = names[first]
        if classes != wanted and sorted(map(str, classes)) == sorted(map(str, wanted)):
            yield (f'{path} has the classes of {first} in another order ({joined(classes)}; {joined(wanted)}): '
                   'write them in one order.')


def _too_many_best(cfg: Config, splits: tuple[str, ...], heads: list[Claim]) -> Iterator[str]:
    """Scores that count a hit among the k best, for a k larger than the number of classes."""
    model = model_part(cfg)
    head = make_part(f'{model.path}.head', model.cfg.get('head'), MODELS) if model is not None else None
    if not heads or head is None or not head.known:
        return
    count = heads[0].counts[0]
    if issubclass(head.cls, ClsHead):
        places = [part for split in splits for part in metrics(cfg, split) if part.cls is Accuracy]
        places += [head] if head.argument('cal_acc') and 'train' in splits else []
    elif issubclass(head.cls, MultiLabelClsHead):
        places = [head] if head.argument('thr') is None else []
    else:
        return
    for part in places:
        topk = part.argument('topk')
        asked = (topk, ) if isinstance(topk, int) else topk or (1, )
        if not isinstance(asked, (list, tuple)) or not all(isinstance(k, int) for k in asked):
            yield f'{part.path}.topk={topk!r} must be an integer or a list of integers.'
            continue
        largest = max(asked)
        if largest > count:
            yield (f'{part.path}.topk={topk} asks for the {largest} best of {count} classes '
                   f'({heads[0].place}={count}): lower it to {count} or less.')
