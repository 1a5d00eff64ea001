"""Loops, and the loaders that feed them."""
from collections.abc import Iterator
from typing import Any

from mmengine.config import Config
from mmengine.dataset import InfiniteSampler
from mmengine.registry import DATA_SAMPLERS, LOOPS
from mmengine.runner import EpochBasedTrainLoop, IterBasedTrainLoop
from torch.utils.data import DataLoader

from mmwhitebox.config_parts import Part, get, make_part

from .windows import is_positive

OF_WORKERS = ('persistent_workers', 'prefetch_factor')
ASKED_OF_TORCH = ('batch_size', 'num_workers', 'timeout', *OF_WORKERS)


def loop_problems(cfg: Config, splits: tuple[str, ...]) -> Iterator[str]:
    """A training without length, or with epochs that never end."""
    loop = _train_loop(cfg) if 'train' in splits else None
    if loop is not None and loop.cls is not None and issubclass(loop.cls, (EpochBasedTrainLoop, IterBasedTrainLoop)):
        for key in ('max_epochs', 'max_iters', 'val_interval'):
            value = loop.cfg.get(key)
            never = key == 'val_interval' and value == float('inf')  # mmengine then never validates
            if value is not None and not never and not _is_whole(value):
                yield f'train_cfg.{key}={value!r} must be a positive integer.'
    for split in splits:
        sampler = make_part(f'{split}_dataloader.sampler', get(cfg, f'{split}_dataloader.sampler'), DATA_SAMPLERS)
        if sampler is None or getattr(sampler.cls, '__iter__', None) is not InfiniteSampler.__iter__:
            continue
        if split != 'train':
            yield (f'{sampler.name} never ends, so neither would the {"validation" if split == "val" else split}: '
                   "take sampler=dict(type='DefaultSampler', shuffle=False).")
        elif loop is not None and getattr(loop.cls, 'run_epoch', None) is EpochBasedTrainLoop.run_epoch:
            yield (f"{sampler.name} never ends, so neither would the first epoch of {loop.name}: "
                   "take sampler=dict(type='DefaultSampler', shuffle=True), or "
                   "train_cfg=dict(type='IterBasedTrainLoop', max_iters=...).")


def _train_loop(cfg: Config) -> Part | None:
    train_cfg = cfg.get('train_cfg')
    if isinstance(train_cfg, dict) and 'type' not in train_cfg:  # as mmengine does
        name = 'EpochBasedTrainLoop' if train_cfg.get('by_epoch') else 'IterBasedTrainLoop'
        train_cfg = {**train_cfg, 'type': name}
    return make_part('train_cfg', train_cfg, LOOPS)


def _is_whole(value: Any) -> bool:
    """Whether mmengine takes a value for a positive integer: 3.0 is one."""
    return not isinstance(value, bool) and isinstance(value, (int, float)) and value > 0 and value % 1 == 0


def loader_problems(cfg: Config, splits: tuple[str, ...]) -> Iterator[str]:
    """Settings of a loader that torch refuses; it is asked itself."""
    for split in splits:
        path = f'{split}_dataloader'
        loader = cfg.get(path)
        if not isinstance(loader, dict):
            continue
        settings = {key: loader[key] for key in ASKED_OF_TORCH if loader.get(key) is not None}
        if not loader.get('batch_sampler') and not is_positive(settings.pop('batch_size', 1)):
            yield f'{path}.batch_size={loader["batch_size"]!r} must be a positive integer.'
        workers = settings.get('num_workers', 0)
        if not isinstance(workers, int) or workers < 0:
            yield f'{path}.num_workers={workers!r} must be 0 (the data is read in the training process) or more.'
            continue
        try:
            DataLoader([0], **{**settings, 'num_workers': min(workers, 1)})  # of more than the cores it would warn
        except (TypeError, ValueError) as error:
            idle = [f'{key}={settings[key]!r}' for key in OF_WORKERS if settings.get(key) and not workers]
            yield (f'{path}: num_workers=0 has no worker, so leave out {" and ".join(idle)}, or set num_workers=1.'
                   if idle else f'{path}: {str(error).strip()}.')
