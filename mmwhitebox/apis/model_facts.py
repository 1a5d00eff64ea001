"""What is known of a model without an image: classes, size and cost, where it comes from, what it scored."""
import copy
import math
import threading
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import torch
from mmengine.model import BaseModel
from mmpretrain.models.selfsup import BaseSelfSupervisor
from torch import nn

import mmwhitebox
from mmwhitebox.interpret.complexity import count_flops, count_parameters
from mmwhitebox.models.access import Network, shown_part

from .export import default_size
from .pretrained.results import kept_validation

_KNOWN: WeakKeyDictionary[nn.Module, dict] = WeakKeyDictionary()
_COUNTING = threading.Lock()  # count_flops sets whether parameters have gradients for a while


def task_of(model: nn.Module) -> str:
    """'segmentation', 'classification', or 'features' of a model that has learned no classes."""
    if hasattr(model, 'decode_head'):
        return 'segmentation'
    has_classes = getattr(model, 'head', None) is not None and not isinstance(model, BaseSelfSupervisor)
    return 'classification' if has_classes else 'features'


def describe_model(model: BaseModel) -> dict:
    """A model as JSON can say it.

    Args:
        model (BaseModel): From :func:`mmwhitebox.apis.init_model`.

    Returns:
        dict: ``name`` (of its config), ``task`` (:func:`task_of`), ``classes``, ``palette`` (None of a classifier) and
        ``facts`` (:func:`model_facts`).
    """
    meta = getattr(model, 'dataset_meta', None) or {}
    filename = getattr(model.cfg, 'filename', None)
    palette = meta.get('palette')
    return dict(name=Path(filename).stem if filename else type(model).__name__, task=task_of(model),
                classes=list(meta.get('classes') or ()),
                palette=None if palette is None else [list(map(int, colour)) for colour in palette],
                facts=copy.deepcopy(model_facts(model)))


def model_facts(model: BaseModel) -> dict:
    """What is known of a model; worked out once for each.

    Args:
        model (BaseModel): From :func:`mmwhitebox.apis.init_model`.

    Returns:
        dict: ``config`` and ``checkpoint`` (file and folder), ``parameters``, ``flops`` (of an image of ``flops_size``,
        height and width, two per multiply-add), ``date`` (of the checkpoint), ``trained`` (epoch or iteration),
        ``version`` and ``metrics``, see :func:`kept_scores`. None of what is not known.
    """
    with _COUNTING:
        if model not in _KNOWN:
            checkpoint, meta = getattr(model, 'checkpoint', None), getattr(model, 'checkpoint_meta', None) or {}
            size = default_size(model.cfg)
            filename = getattr(model.cfg, 'filename', None)
            _KNOWN[model] = dict(
                config=_short(filename), checkpoint=_short(checkpoint),
                parameters=count_parameters(shown_part(model)),  # a teacher is its copy
                flops=_flops(model, size), flops_size=list(size), date=_date(meta),
                trained=_steps(meta), version=f'mmwhitebox {mmwhitebox.__version__}',
                metrics=checkpoint and kept_scores(Path(checkpoint)))
        return _KNOWN[model]


def _short(path: str | Path | None) -> str | None:
    """A file and its folder: pages are sent to others, whom the rest of the path does not concern."""
    return '/'.join(Path(path).parts[-2:]) if path else None


def _flops(model: BaseModel, size: tuple[int, int]) -> int | None:
    """FLOPs of an image of a size, on a copy without values; None of a model that cannot be counted so."""
    without_values: dict[int, Any] = {
        id(parameter): nn.Parameter(torch.empty_like(parameter, device='meta'), parameter.requires_grad)
        for parameter in model.parameters()}
    without_values |= {id(buffer): torch.empty_like(buffer, device='meta') for buffer in model.buffers()}
    without_values[id(model.cfg)] = model.cfg
    try:
        image = torch.empty(1, model.cfg.model.backbone.get('in_channels', 3), *size, device='meta')
        features_alone = task_of(model) == 'features' and not hasattr(model, 'predict_pixels')
        module = copy.deepcopy(model.backbone if features_alone else model, without_values)
        return count_flops(module if features_alone else Network(module), image)
    except (RuntimeError, NotImplementedError, TypeError, ValueError):
        return None


def _date(meta: Mapping) -> str | None:
    """When a checkpoint was written, '2026-01-31 18:05', from mmengine's '20260131_180500'."""
    try:
        return datetime.strptime(str(meta.get('time')), '%Y%m%d_%H%M%S').strftime('%Y-%m-%d %H:%M')
    except ValueError:
        return None


def _steps(meta: Mapping) -> str | None:
    """How long a checkpoint was trained; mmengine counts the epochs of trainings by epoch alone."""
    for unit, key in (('epoch', 'epoch'), ('iteration', 'iter')):
        if isinstance(meta.get(key), int) and meta[key] > 0:
            return f'{unit} {meta[key]}'
    return None


def kept_scores(checkpoint: Path) -> dict | None:
    """Scores of the validation of a checkpoint: name -> score, as the metric gave it, and what is known of the classes,
    ``classes``: class -> name -> score in percent. None of a checkpoint of which nothing was kept.
    """
    kept = kept_validation(checkpoint)
    if kept is None:
        return None
    if not kept['classes']:
        return kept['scores']
    classes = {label: {name: round(values[label], 2) for name, values in kept['classes'].items()
                       if math.isfinite(values[label])} for label in next(iter(kept['classes'].values()))}
    return {**kept['scores'], 'classes': classes}
