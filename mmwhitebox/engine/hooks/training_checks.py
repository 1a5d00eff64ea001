"""What train.py makes sure of, for a run that is started by ``Runner.from_cfg(cfg)``."""
from functools import partial

from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmwhitebox.config.check import check_config
from mmwhitebox.config.model_check import check_model
from mmwhitebox.datasets import watch_workers
from mmwhitebox.registry import HOOKS

from ..checks import check_whole, is_checked, load_safely
from ..loops import run_within
from ..runner_parts import is_training
from ..work_dir import lock_work_dir, prepare_folder


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
        if not self.enabled or is_checked():
            return
        load_safely(self.trust_checkpoint)
        if not is_training(runner):
            return
        check_config(runner.cfg)
        check_whole(runner.cfg)
        check_model(runner.model)
        prepare_folder(runner.work_dir, '--work-dir')
        run_within(runner, partial(lock_work_dir, runner.cfg))
        run_within(runner, watch_workers)
