"""A look at a few masks before training: those of two classes are often written as 0 and 255, and 255 is ignored."""
import functools
from collections.abc import Iterator
from typing import Any

import numpy as np
from mmengine.config import Config
from mmengine.registry import TRANSFORMS
from mmseg.datasets import BaseSegDataset
from mmseg.datasets.transforms import LoadAnnotations

from mmwhitebox.config_parts import Part, datasets, pipelines, steps
from mmwhitebox.errors import AnnotationError, joined

from .class_names import known_classes, lazily_built
from .mask_reading import steps_that_read_masks
from .transforms import LoadSegAnnotation

LOOKED_AT = 12


def look_at_masks(cfg: Config) -> None:
    """Make sure that the masks of the training set hold more than one class.

    A few masks are read; only if these hold a single class and ignored pixels, the others are, until there is a second.

    Args:
        cfg (Config): Full config.

    Raises:
        AnnotationError: No mask has a second class, and some pixels are ignored. The message says which labels there
            are and what to do.
    """
    with TRANSFORMS.switch_scope_and_registry(cfg.get('default_scope') or 'mmseg'):
        problems = [problem for part in datasets(cfg, 'train') for problem in _problems(cfg, part)]
    if problems:
        raise AnnotationError('\n'.join(problems))


def _problems(cfg: Config, part: Part) -> Iterator[str]:
    if part.cls is None or not issubclass(part.cls, BaseSegDataset):
        return
    classes, dataset = known_classes(part), lazily_built(part)
    if dataset is None or not classes or len(classes) < 2:
        return
    try:
        dataset.full_init()
    except Exception:  # its files are checked elsewhere
        return
    loader = _mask_loader(cfg, part) or _own_loader(part, dataset)
    if loader is None:
        return
    ignored = {255, getattr(loader, 'ignore_index', 255)}
    order = np.unique(np.linspace(0, len(dataset) - 1, min(LOOKED_AT, len(dataset)), dtype=int)).tolist()
    found: set[int] = set()
    seen = set(order)
    for number, index in enumerate([*order, *(i for i in range(len(dataset)) if i not in seen)], 1):
        found |= _labels(loader, dataset.get_data_info(index))
        if len(found - ignored) > 1 or (number == len(order) and not found & ignored):
            return
    if found & ignored:
        yield _message(part, found, found & ignored, classes, len(dataset))


def _mask_loader(cfg: Config, part: Part) -> Any:
    """The step that reads the masks, of the data set's own pipeline or of one around it."""
    for step in (*steps(f'{part.path}.pipeline', part.cfg.get('pipeline')), *pipelines(cfg, 'train')):
        if step.cls is not None and issubclass(step.cls, LoadAnnotations):
            return TRANSFORMS.build(step.cfg)
    return None


def _own_loader(part: Part, dataset: BaseSegDataset) -> Any:
    """The steps of a pipeline that read the masks with none of mmseg's classes."""
    try:
        built = [TRANSFORMS.build(dict(step)) for step in part.cfg.get('pipeline') or ()]
    except Exception:  # what cannot be built is said when the training builds it
        return None
    reading = steps_that_read_masks(built, dataset)
    return functools.partial(functools.reduce, lambda results, step: step(results), reading) if reading else None


def _labels(loader: Any, info: dict) -> set[int]:
    """Labels of a mask as training sees it; none of one that cannot be read."""
    read = getattr(loader, 'read' if isinstance(loader, LoadSegAnnotation) else '__call__')
    try:
        labels = np.asarray(read({**info, 'seg_fields': []})['gt_seg_map'])
    except Exception:  # reading them is the training's affair, and that of mmwhitebox check-data
        return set()
    if labels.ndim > 2:
        raise AnnotationError(f'{info["seg_map_path"]}: a mask of {labels.shape[-1]} channels, where one of class '
                              'indices is needed: save the index of the class of each colour (mode L or P), or name '
                              'the colours, palette={NAME: (R, G, B)} of mmwhitebox.LoadSegAnnotation; '
                              'mmwhitebox check-data says which there are.')
    return set(labels.ravel().tolist())


def _message(part: Part, found: set[int], ignored: set[int], classes: list[str], count: int) -> str:
    labels = joined(sorted(found))
    text = (f'{part.name}: its {count} masks hold the labels {labels} alone, and {joined(sorted(ignored))} is ignored, '
            f'so nothing of the {len(classes)} classes ({joined(classes)}) could be told apart. ')
    if part.argument('reduce_zero_label'):
        return f'{text}reduce_zero_label=True makes 0 to 255 and lowers the others: set it to False if 0 is a class.'
    return (f'{text}If {max(ignored)} means a class, save its label instead: '
            f'numpy.where(mask == {max(ignored)}, 1, mask). Or leave the masks and say so: '
            f'mapping={{0: {classes[0]!r}, {max(ignored)}: {classes[1]!r}}} of mmwhitebox.LoadSegAnnotation.')
