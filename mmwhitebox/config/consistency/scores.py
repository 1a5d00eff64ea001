"""Names of scores: what the best checkpoint, early stopping and the schedule wait for, and what the metrics give."""
from collections.abc import Iterator, Sequence
from typing import Any

from mmengine.config import Config
from mmengine.evaluator import DumpResults
from mmengine.hooks import CheckpointHook, EarlyStoppingHook
from mmengine.optim.scheduler import ReduceOnPlateauLR
from mmengine.registry import HOOKS, LOOPS, PARAM_SCHEDULERS
from mmpretrain.evaluation import Accuracy, AveragePrecision, MultiLabelMetric, SingleLabelMetric
from mmseg.evaluation import IoUMetric

from mmwhitebox.config_parts import Part, datasets, get, listed, make_part, metrics, model_part, parts
from mmwhitebox.datasets.class_names import known_classes
from mmwhitebox.errors import joined

IOU_SCORES = dict(mIoU=('mIoU', 'mAcc'), mDice=('mDice', 'mAcc'), mFscore=('mFscore', 'mPrecision', 'mRecall'))
BOUNDARY_SCORES = dict(mBoundaryF=('mBoundaryF', ))
ENOUGH = 12


def gives_iou(part: Part) -> bool:
    """Whether a metric is mmseg's IoUMetric, or ours."""
    return part.known and issubclass(part.cls, IoUMetric)


def offered_scores(cls: type) -> dict[str, tuple[str, ...]]:
    """What ``iou_metrics`` of an IoUMetric may name -> the means that it gives; ours has more than mmseg's."""
    return {**IOU_SCORES, **(BOUNDARY_SCORES if getattr(cls, 'scores_boundaries', False) else {})}


def score_problems(cfg: Config, splits: tuple[str, ...]) -> Iterator[str]:
    """Scores that no metric of the validation gives, and those without a rule which of two is better."""
    for split in splits:
        for part in metrics(cfg, split):
            offered = offered_scores(part.cls)
            wrong = sorted(set(_iou_scores(part)) - set(offered)) if gives_iou(part) else []
            if wrong:
                ours = " type='mmwhitebox.IoUMetric' has it." if set(wrong) <= set(BOUNDARY_SCORES) else ''
                yield f'{part.path}.iou_metrics: there is no {joined(wrong)}; there are {joined(list(offered))}.{ours}'
    if 'train' not in splits or not cfg.get('val_evaluator') or not cfg.get('val_dataloader') or \
            cfg.get('val_cfg') is None:
        return
    loop = make_part('val_cfg', {'type': 'ValLoop', **cfg['val_cfg']}, LOOPS)
    if loop is not None and loop.known and not getattr(loop.cls, 'gives_features', False):
        yield from (f"{part.name} scores features, which {loop.name} does not give: set val_cfg="
                    "dict(type='mmwhitebox.FeatureValLoop')."
                    for part in metrics(cfg, 'val') if getattr(part.cls, 'needs_features', False))
    names = validation_scores(cfg)
    for place, monitor, hook in monitors(cfg):
        if names is not None and monitor not in names:
            near = [name for name in names if monitor.rpartition('/')[2] == name.rpartition('/')[2]]
            metric_paths = joined([part.name for part in metrics(cfg, 'val')])
            remedy = f'write {near[0]!r}.' if near else 'choose one of them, or ask the metric for it.'
            given = joined(sorted(names), ENOUGH) or 'no score'
            yield f'{place}={monitor!r}, but {metric_paths} gives {given}: {remedy}'
        if hook is not None:
            yield from _rule(place, monitor, hook)


def monitors(cfg: Config) -> Iterator[tuple[str, str, Part | None]]:
    """(place, name of a score, the hook that compares it) of everything that waits for a score."""
    checkpoint = make_part('default_hooks.checkpoint', get(cfg, 'default_hooks.checkpoint'), HOOKS)
    if checkpoint is not None and checkpoint.cls is None and 'type' not in checkpoint.cfg:
        checkpoint = checkpoint._replace(cls=CheckpointHook)  # mmengine's default
    for hook in (checkpoint, *parts('custom_hooks', cfg.get('custom_hooks'), HOOKS)):
        if hook is None or not hook.known:
            continue
        if issubclass(hook.cls, CheckpointHook):
            for place, name in listed(f'{hook.path}.save_best', hook.cfg.get('save_best')):
                if isinstance(name, str) and name != 'auto':
                    yield place, name, hook
        elif issubclass(hook.cls, EarlyStoppingHook) and isinstance(hook.cfg.get('monitor'), str):
            yield f'{hook.path}.monitor', hook.cfg['monitor'], hook
    for scheduler in parts('param_scheduler', cfg.get('param_scheduler'), PARAM_SCHEDULERS):
        if scheduler.cls is ReduceOnPlateauLR:
            yield f'{scheduler.path}.monitor', scheduler.argument('monitor') or 'loss', None


def _rule(place: str, monitor: str, hook: Part) -> Iterator[str]:
    """mmengine is asked whether it knows which of two values is better."""
    settings = {key: hook.cfg[key] for key in ('rule', 'greater_keys', 'less_keys') if hook.cfg.get(key) is not None}
    try:
        if issubclass(hook.cls, CheckpointHook):
            CheckpointHook(save_best=hook.cfg['save_best'], **settings)
        else:
            EarlyStoppingHook(monitor, **settings)
    except ValueError:
        yield (f'{place}={monitor!r}: whether more or less of it is better is not known: add '
               f"{hook.path}.rule='greater' or 'less'.")
    except (KeyError, AssertionError) as error:
        yield f'{hook.path}.rule={hook.cfg.get("rule")!r}: {error.args[0] if error.args else error}'


def validation_scores(cfg: Config) -> set[str] | None:
    """Names of all scores of a validation; None if a metric or the model is not one whose names are known."""
    model = model_part(cfg)
    if model is None or not model.known:  # mmengine adds the losses that a model gives in validation
        return None
    evaluator = cfg.get('val_evaluator')
    if isinstance(evaluator, dict) and 'metrics' in evaluator and \
            str(evaluator.get('type', 'Evaluator')).rpartition('.')[2] != 'Evaluator':
        return None
    names: set[str] = set()
    found = list(metrics(cfg, 'val'))
    for part in found:
        scores = metric_scores(part, next(map(known_classes, datasets(cfg, 'val')), None))
        if scores is None:
            return None
        prefix = part.cfg.get('prefix') or part.cls.default_prefix
        names.update(f'{prefix}/{score}' if prefix else score for score in scores)
    return names if found else None


def metric_scores(part: Part, classes: list[str] | None) -> list[str] | None:
    """Names of the scores of one metric, without its prefix; None if they are not known.

    Args:
        part (Part): The metric.
        classes (list[str], optional): Names of the classes, for metrics that have a score for each.
    """
    cls = part.cls
    if cls is DumpResults:
        return []
    if gives_iou(part):
        if part.cfg.get('format_only'):
            return []
        per_class = getattr(cls, 'logs_every_class', False)
        if per_class and classes is None:
            return None
        means = ['aAcc', *(name for metric in _iou_scores(part) for name in offered_scores(cls).get(metric, ()))]
        ends = [f'{name}_{end}' for name in means for end in ('low', 'high') if part.cfg.get('bootstrap')]
        return [*means, *ends, *(f'IoU.{name}' for name in classes or () if per_class)]
    if cls is Accuracy or getattr(cls, 'scores_of_topk', False):
        topk = part.argument('topk')
        return [f'top{k}{suffix}' for k in ((topk, ) if isinstance(topk, int) else topk)
                for suffix in _threshold_suffixes(part)]
    if cls is SingleLabelMetric or cls is MultiLabelMetric:
        suffixes = _threshold_suffixes(part) if cls is SingleLabelMetric else [_multi_label_suffix(part)]
        average = part.argument('average')
        end = '_classwise' if average is None else '_micro' if average == 'micro' else ''
        return [f'{item}{suffix}{end}' for item in part.argument('items') for suffix in suffixes]
    if cls is AveragePrecision:
        return ['AP_classwise' if part.argument('average') is None else 'mAP']
    return None


def _iou_scores(part: Part) -> Sequence[str]:
    asked = part.argument('iou_metrics')
    return list(asked) if isinstance(asked, (list, tuple)) else [str(asked)]


def _threshold_suffixes(part: Part) -> list[str]:
    thrs: Any = part.argument('thrs')
    if not isinstance(thrs, (list, tuple)) or len(thrs) == 1:
        return ['']
    return ['_no-thr' if thr is None else f'_thr-{thr:.2f}' for thr in thrs]


def _multi_label_suffix(part: Part) -> str:
    thr, topk = part.cfg.get('thr'), part.cfg.get('topk')
    if thr or topk is None:
        return '' if thr in (None, 0.5) else f'_thr-{thr:.2f}'
    return f'_top{topk}'
