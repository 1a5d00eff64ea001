"""What is made sure of before a training: the config, its data, the checkpoints that it reads.

:func:`mmwhitebox.engine.training.train` does it before anything is built. A training that is started by
``Runner.from_cfg(cfg).train()`` has it from :class:`TrainingChecksHook`, as soon as mmengine asks a hook.
"""
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial

from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmwhitebox.checkpoints import use_safe_loading
from mmwhitebox.config.check import check_config
from mmwhitebox.config.consistency import check_consistency, raise_together
from mmwhitebox.config.model_check import check_model
from mmwhitebox.datasets import check_datasets, look_at_masks, watch_workers
from mmwhitebox.registry import HOOKS

from ..loops import run_within
from ..runner_parts import is_training
from ..work_dir import lock_work_dir, prepare_folder

_checked: ContextVar[bool] = ContextVar('checked', default=False)


@contextmanager
def checked() -> Iterator[None]:
    """Around a training for which all of this is done: its hook need not do it again."""
    token = _checked.set(True)
    try:
        yield
    finally:
        _checked.reset(token)


def check_whole(cfg: Config) -> None:
    """Compare the parts of a training config with each other and with the data.

    Raises:
        UserError: They contradict each other, files are missing, masks hold a single class.
    """
    raise_together(lambda: check_consistency(cfg), lambda: check_datasets(cfg, splits=('train', 'val')),
                   lambda: look_at_masks(cfg))


@HOOKS.register_module()
class TrainingChecksHook(Hook):
    """Looks at a training before it starts, and after its workers and its work dir while it runs.

    The config is checked, part by part and as a whole, with its data, masks and model; every checkpoint is read with
    weights only, in a test too; no other training may be in the work dir; a data-loader worker that dies is named with
    its sample.
    mmengine calls it when model and data sets are built: what these refuse themselves is said by them.

    Args:
        enabled (bool): Defaults to True.
        trust_checkpoint (bool): Read checkpoints that need more than weights, which can run code. Defaults to False.

    Raises:
        UserError: Before training: what cannot work.
    """

    priority = 'HIGHEST'

    def __init__(self, enabled: bool = True, trust_checkpoint: bool = False) -> None:
        self.enabled = enabled
        self.trust_checkpoint = trust_checkpoint

    def before_run(self, runner: Runner) -> None:
        """Check, unless ``mmwhitebox train`` has."""
        if not self.enabled or _checked.get():
            return
        if not self.trust_checkpoint:
            use_safe_loading()
        if not is_training(runner):
            return
        check_config(runner.cfg)
        check_whole(runner.cfg)
        check_model(runner.model)
        prepare_folder(runner.work_dir, '--work-dir')
        run_within(runner, partial(lock_work_dir, runner.cfg))
        run_within(runner, watch_workers)
