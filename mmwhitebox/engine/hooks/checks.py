"""Everything that is looked at before a training starts, whoever builds the Runner."""
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import wraps
from typing import Any

from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmwhitebox.checkpoints import use_safe_loading
from mmwhitebox.config.check import check_config
from mmwhitebox.config.consistency import check_consistency, raise_together
from mmwhitebox.config.model_check import check_model
from mmwhitebox.datasets import check_datasets, look_at_masks, watch_workers
from mmwhitebox.registry import HOOKS

from ..work_dir import lock_work_dir
from .initial_weights import check_initial_weights

_checked: ContextVar[bool] = ContextVar('mmwhitebox: the training of this context was checked', default=False)


def check_training(cfg: Config) -> None:
    """Compare what the parts of a config say with each other and with the data.

    Raises:
        UserError: What cannot work; all findings in one message.
    """
    raise_together(lambda: check_consistency(cfg), lambda: check_datasets(cfg, splits=('train', 'val')),
                   lambda: look_at_masks(cfg))


@contextmanager
def checked() -> Iterator[None]:
    """A context whose trainings were checked, and their work dirs locked, before their Runners were built."""
    token = _checked.set(True)
    try:
        yield
    finally:
        _checked.reset(token)


@HOOKS.register_module()
class TrainingChecksHook(Hook):
    """Gives a training of mmengine's own ``Runner`` what ``mmwhitebox train`` has.

    Before it starts: the config, its parts among each other and against the data and the model are checked, checkpoints
    are read with weights only. While it runs: the work dir is locked, and a data-loader worker that dies leaves the
    name of its sample. The command does all that before the Runner is built, and this hook then does nothing.

    Args:
        check_config (bool): Look for misspelt keys, too. Defaults to True.
        trust_checkpoint (bool): Let checkpoints be read that need more than weights; such a file can run code.
            Defaults to False.
    """

    priority = 'VERY_HIGH'

    def __init__(self, check_config: bool = True, trust_checkpoint: bool = False) -> None:
        self.check_config = check_config
        self.trust_checkpoint = trust_checkpoint

    def before_run(self, runner: Runner) -> None:
        """Check, of a training.

        Raises:
            UserError: What cannot work.
        """
        if _checked.get() or isinstance(runner._train_loop, (dict, type(None))):  # mmengine builds it to train
            return
        cfg = runner.cfg
        if self.check_config:
            check_config(cfg)
        if not self.trust_checkpoint:
            use_safe_loading()
        check_initial_weights(cfg)
        check_training(cfg)
        check_model(runner.model)
        run = runner.train_loop.run

        @wraps(run)
        def watched_run() -> Any:
            with lock_work_dir(cfg), watch_workers():
                return run()

        # mmengine calls no hook when a loop raises, which the lock and the watch must see: hence the assignment
        runner.train_loop.run = watched_run
