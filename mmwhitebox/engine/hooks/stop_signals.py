"""A training that is asked to stop writes a checkpoint first, and says how to go on."""
import ctypes
import multiprocessing
import os
import shlex
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import FrameType

import torch
from mmengine.dist import all_reduce, barrier, get_world_size, is_main_process
from mmengine.hooks import EMAHook, Hook
from mmengine.runner import Runner
from torch.utils.data import DataLoader
from torch.utils.data.dataloader import _BaseDataLoaderIter

from mmwhitebox.registry import HOOKS

from ..loops import run_within
from ..runner_parts import built_loops, is_training
from ..signals import SignalWatch, shield_worker
from .checkpoint import save_now
from .ema import BesideEMAHook

STOPPED = 75  # EX_TEMPFAIL of sysexits.h: not done, try again
NOTE = 'MMWHITEBOX_STOP_NOTE'  # environment: a file that tells tools/dist_launch.py of an orderly stop


class TrainingStopped(SystemExit):
    """Ends a process that was asked to stop, with status :data:`STOPPED` if its state is saved and 1 if not."""


def resume_command(argv: Sequence[str], launcher: str, processes: int) -> str:
    """What to type to go on with a training, from the command line of one of its processes."""
    argv = list(argv)
    name = Path(argv[0]).name
    installed = argv[1:2] == ['train'] and (name == 'mmwhitebox' or Path(argv[0]).parts[-2:] ==
                                            ('mmwhitebox', '__main__.py'))
    if name != 'train.py' and not installed:
        return 'the same program with resume=True'
    if '--resume' in argv:
        at = argv.index('--resume')
        named = at + 1 < len(argv) and not argv[at + 1].startswith('--')
        del argv[at:at + 1 + named]
    if installed:
        start = ['mmwhitebox'] if launcher != 'pytorch' else \
            ['torchrun', f'--nproc_per_node={processes}', '-m', 'mmwhitebox']
        return shlex.join([*start, *argv[1:], '--resume'])
    if launcher != 'pytorch':
        return shlex.join(['python', *argv, '--resume'])
    at = argv.index('--launcher')
    del argv[at:at + 2]
    script = Path(argv[0]).with_name('dist_train.sh')
    return shlex.join(['bash', str(script), argv[1], str(processes), *argv[2:], '--resume'])


def waits_for(loader: DataLoader, frame: FrameType | None) -> bool:
    """Whether the interrupted code is the loader's, on its way to the next batch."""
    while frame is not None:
        if frame.f_code is _BaseDataLoaderIter.__next__.__code__:
            return frame.f_locals['self']._dataset is loader.dataset
        frame = frame.f_back
    return False


def swaps_for_validation(hook: EMAHook) -> bool:
    """Whether the average of a hook stands in the model during the first pass of a validation."""
    beside = isinstance(hook, BesideEMAHook) or type(hook).before_val_epoch is Hook.before_val_epoch
    return not beside and getattr(hook, 'evaluate_on_ema', True)


@HOOKS.register_module()
class StopOnSignalHook(Hook):
    """SIGTERM, SIGINT or SIGUSR1 (as SLURM sends): the current iteration is finished and a checkpoint written.

    The process then ends with status 75 (EX_TEMPFAIL), with 1 if the checkpoint could not be written; with
    ``--resume`` the training goes on from there. A second signal, a second or more after the first, ends it at once.
    On several processes all stop after the same iteration, whichever of them got the signal. A validation is given up
    after its current batch, and done again on resume. A single process that waits for data stops at once.

    Args:
        signals (Sequence[str]): Names of the signals; none turns the hook off.
            Defaults to ('SIGTERM', 'SIGINT', 'SIGUSR1').
    """

    priority = 'LOWEST'

    def __init__(self, signals: Sequence[str] = ('SIGTERM', 'SIGINT', 'SIGUSR1')) -> None:
        self.signals = [getattr(signal, name) for name in signals]
        self.watch: SignalWatch | None = None
        self.stopping = False
        self.passes = 0  # begun over the validation data; the second one of mmpretrain's EMAHook is not averaged
        self.common = 0  # batches that every process has in a validation

    def before_run(self, runner: Runner) -> None:
        """Watch the signals while the train loop runs, and keep them from the workers."""
        if not self.signals or not is_training(runner):
            return
        leaving = multiprocessing.RawValue(ctypes.c_bool, False)  # shared with the workers
        for loop in built_loops(runner):
            # On the loader: the configs of data loaders can name such a function, and every one would have to name it.
            loop.dataloader.worker_init_fn = partial(
                shield_worker, leaving=leaving, init=loop.dataloader.worker_init_fn)

        def announce(received: signal.Signals) -> None:
            runner.logger.warning(f'{received.name} received: the training stops after this iteration. A second '
                                  'signal ends it at once.')

        self.watch = SignalWatch(self.signals, announce, partial(self.stop_waiting, runner))
        run_within(runner, partial(self.watching, leaving))

    @contextmanager
    def watching(self, leaving: ctypes.c_bool) -> Iterator[None]:
        """The context of the train loop."""
        leaving.value = False
        try:
            with self.watch:
                yield
        finally:
            leaving.value = True

    def stop_waiting(self, runner: Runner, signum: int, frame: FrameType | None) -> None:
        """Handler of the signals, in the main thread: one process alone need not wait for the next batch."""
        if get_world_size() == 1 and waits_for(runner.train_loop.dataloader, frame):
            self.stop(runner, runner.iter)

    def asked(self) -> bool:
        """Whether any process was asked to stop; all processes call it."""
        if self.watch is None:
            return False
        asked = torch.tensor(int(self.watch.received is not None))
        all_reduce(asked, 'max')
        return bool(asked)

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch: dict | None = None,
                         outputs: dict | None = None) -> None:
        """Stop, after every other hook has seen the iteration."""
        if self.asked():
            self.stop(runner, runner.iter + 1)

    def before_val_epoch(self, runner: Runner) -> None:
        """Agree on the batches after which all processes can ask each other."""
        self.passes = 0
        if self.watch is not None:
            common = torch.tensor(len(runner.val_dataloader))
            all_reduce(common, 'min')
            self.common = int(common)

    def after_val_iter(self, runner: Runner, batch_idx: int, data_batch: dict | None = None,
                       outputs: Sequence | None = None) -> None:
        """Stop, with the weights of the training back in the model."""
        self.passes += batch_idx == 0
        if batch_idx >= self.common or not self.asked():
            return
        for hook in runner.hooks:
            if isinstance(hook, EMAHook) and swaps_for_validation(hook) and self.passes == 1:
                hook._swap_ema_parameters()
        self.stop(runner, runner.iter)

    def after_val(self, runner: Runner) -> None:
        """Stop, with the validation done."""
        if self.asked():
            self.stop(runner, runner.iter, again=True)

    def stop(self, runner: Runner, iteration: int, again: bool = False) -> None:
        """Save, say how to go on, and leave.

        Args:
            runner (Runner): The training.
            iteration (int): Iterations done.
            again (bool): Save even if the last checkpoint is of this iteration. Defaults to False.

        Raises:
            TrainingStopped: Always, except within a stop.
        """
        if self.stopping:
            return
        self.stopping = True
        path = save_now(runner, iteration, again)
        self.watch.leaving = True
        if get_world_size() > 1:
            barrier()
        if path is not None:
            command = resume_command(sys.argv, runner.launcher, runner.world_size)
            runner.logger.warning(f'Stopped after iteration {iteration}, saved in {path}. Go on with: {command}')
            if is_main_process() and NOTE in os.environ:
                Path(os.environ[NOTE]).write_text(str(STOPPED))
        else:
            runner.logger.error(f'Stopped after iteration {iteration}; it could not be saved.')
        runner.visualizer.close()
        raise TrainingStopped(STOPPED if path is not None else 1)
