"""How a model was trained, as its config says, in words; places of files are not among them."""
import os
from collections.abc import Sequence
from typing import Any

from mmengine.config import Config

from mmwhitebox.config_parts import get
from mmwhitebox.datasets.layout import leaf_datasets

NO_AUGMENTATION = ('Load', 'Pack')
OF_ANY_DATA = ('FolderSegDataset', 'FolderClsDataset', 'BaseSegDataset', 'CustomDataset')


def recipe_of(cfg: Config) -> dict[str, str]:
    """Data, optimizer, schedule, length, batch and augmentation, as far as the config has them."""
    loader = cfg.get('train_dataloader') or {}
    sets = list(leaf_datasets(loader['dataset'])) if loader.get('dataset') else []
    recipe = dict(
        data=', '.join(dict.fromkeys(map(data_of, sets))),
        start=start_of(cfg),
        optimizer=optimizer_of(cfg.get('optim_wrapper') or {}),
        schedule=', '.join(map(schedule_of, as_list(cfg.get('param_scheduler')))),
        length=length_of(cfg.get('train_cfg') or {}),
        batch=f'{loader["batch_size"]} images a process' if loader.get('batch_size') else '',
        augmentation=augmentation_of(sets, cfg),
        average=', '.join(averages(cfg)),
        seed=str(get(cfg, 'randomness.seed')) if get(cfg, 'randomness.seed') is not None else '')
    return {key: value for key, value in recipe.items() if value}


def as_list(value: Any) -> list[dict]:
    """The dicts of what may be one, several, or none."""
    values = value if isinstance(value, (list, tuple)) else [value]
    return [item for item in values if isinstance(item, dict)]


def short(name: Any) -> str:
    """The name of a class without its scope."""
    return str(getattr(name, '__name__', name)).rpartition('.')[2]


def data_of(part: dict) -> str:
    """A published set by its class, one's own by the name of its folder."""
    kind = short(part.get('type'))
    root = part.get('data_root') if kind in OF_ANY_DATA else None
    return (os.path.basename(os.path.abspath(root)) if root else '') or kind


def averages(cfg: Config) -> list[str]:
    """Names of the hooks that average the weights."""
    return [short(hook.get('type')) for hook in as_list(cfg.get('custom_hooks')) if 'EMA' in short(hook.get('type'))]


def arguments(part: dict, keys: Sequence[str]) -> str:
    """Some arguments, ``lr=0.001, weight_decay=0.05``, those that are numbers, texts or lists of numbers."""
    return ', '.join(f'{key}={list(part[key]) if isinstance(part[key], (list, tuple)) else part[key]}' for key in keys
                     if part.get(key) is not None and not isinstance(part[key], dict))


def with_arguments(part: dict, keys: Sequence[str]) -> str:
    """A class with some of its arguments."""
    said = arguments(part, keys)
    return short(part.get('type')) + (f'({said})' if said else '')


def start_of(cfg: Config) -> str:
    """What the weights were before the training, as far as the config says."""
    backbone = cfg.model.get('backbone') or {}
    resumed = cfg.get('resume')  # load_from is then what it went on from
    if cfg.get('load_from') and not resumed:
        return 'weights of a checkpoint'
    if backbone.get('pretrained') or (backbone.get('init_cfg') or {}).get('type') == 'Pretrained':
        kind = backbone.get('model_name') or backbone.get('arch')
        return 'a pretrained encoder' + (f', {kind}' if isinstance(kind, str) else '')
    return '' if resumed else 'from scratch'


def optimizer_of(wrapper: dict) -> str:
    """The optimizer, what is done to its gradients, its precision."""
    optimizer = wrapper.get('optimizer')
    if not isinstance(optimizer, dict):
        return ''
    parts = [with_arguments(optimizer, [key for key in optimizer if key != 'type'])]
    if wrapper.get('clip_grad'):
        parts.append(f'gradients clipped ({arguments(wrapper["clip_grad"], list(wrapper["clip_grad"]))})')
    if wrapper.get('accumulative_counts', 1) > 1:
        parts.append(f'{wrapper["accumulative_counts"]} batches a step')
    if short(wrapper.get('type')) in ('AmpOptimWrapper', 'BFloat16OptimWrapper'):
        parts.append(f'mixed precision, {wrapper.get("dtype") or "bfloat16"}')
    return ', '.join(parts)


def schedule_of(scheduler: dict) -> str:
    """A scheduler of the learning rate."""
    return with_arguments(scheduler, ('start_factor', 'power', 'eta_min', 'milestones', 'gamma', 'begin', 'end',
                                      'T_max', 'by_epoch'))


def length_of(train_cfg: dict) -> str:
    """Iterations or epochs."""
    for key, unit in (('max_iters', 'iterations'), ('max_epochs', 'epochs')):
        if train_cfg.get(key):
            return f'{train_cfg[key]} {unit}'
    return ''


def augmentation_of(sets: Sequence[dict], cfg: Config) -> str:
    """Names of the steps that change training images, and of what mixes them."""
    steps = [short(step.get('type')) for part in sets[:1] for step in part.get('pipeline') or () if 'type' in step]
    mixed = [short(part.get('type')) for part in as_list(get(cfg, 'model.train_cfg.augments'))]
    return ', '.join(name for name in [*steps, *mixed] if not name.startswith(NO_AUGMENTATION))
