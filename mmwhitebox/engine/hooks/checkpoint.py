"""Checkpoints that survive a kill, a full disk and a bad sector."""
import hashlib
import logging
import os
import pickle
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from pathlib import Path

from mmengine.dist import all_gather_object, broadcast_object_list, is_main_process, master_only
from mmengine.fileio import LocalBackend, get_file_backend
from mmengine.hooks import CheckpointHook
from mmengine.logging import MessageHub, print_log
from mmengine.runner import EpochBasedTrainLoop, IterBasedTrainLoop, Runner, save_checkpoint
from mmengine.runner.checkpoint import _load_checkpoint

from mmwhitebox.checkpoints.atomic import remove_stale, write_bytes
from mmwhitebox.checkpoints.plain_checkpoint import histories, plain
from mmwhitebox.checkpoints.verify import POINTER
from mmwhitebox.errors import UserError, WriteError
from mmwhitebox.registry import HOOKS

from ..runner_parts import is_resumed, is_training, loaded_path
from ..verified_backend import NAME

# In the message hub, and so in the checkpoint:
SUPERSEDED = 'superseded_best_ckpts'  # to be deleted once the checkpoint is in place
VALIDATED = 'last_validation'  # epoch or iteration of the last validation

WEIGHTS = ('meta', 'state_dict', 'ema_state_dict')  # what a best checkpoint holds, the last if there is an average


@contextmanager
def promised(hub: MessageHub, **info) -> Iterator[None]:
    """Write to the message hub what will hold once a checkpoint is in place; take it back if the body raises.

    The hub is part of the checkpoint, so a run that is killed right after continues with the truth.
    """
    before = {key: hub.runtime_info[key] for key in info if key in hub.runtime_info}
    hub.update_info_dict(info)
    try:
        yield
    except BaseException:
        for key in info:
            hub.runtime_info.pop(key)
            hub._resumed_keys.pop(key, None)
        hub.update_info_dict(before)
        raise


def on_all_ranks(work: Callable[[], object]) -> None:
    """Run ``work`` on every rank; what rank 0 could not write is raised on all of them, so that none waits."""
    reason: list[str | None] = [None]
    try:
        work()
    except WriteError as error:
        reason[0] = str(error)
    broadcast_object_list(reason)
    if reason[0] is not None:
        raise WriteError(reason[0])


def validation_is_due(runner: Runner) -> bool:
    """Whether a resumed run stands where the loop validates, and its checkpoint does not know of a validation."""
    loop = runner.train_loop
    if runner.val_loop is None or not isinstance(loop, (EpochBasedTrainLoop, IterBasedTrainLoop)):
        return False
    by_epoch = isinstance(loop, EpochBasedTrainLoop)
    now, end = (loop.epoch, loop.max_epochs) if by_epoch else (loop.iter, loop.max_iters)
    loop._decide_current_val_interval()
    return now >= max(loop.val_begin, 1) and (now % loop.val_interval == 0 or now == end) and \
        runner.message_hub.runtime_info.get(VALIDATED) != now


@HOOKS.register_module()
class AtomicCheckpointHook(CheckpointHook):
    """mmengine's ``CheckpointHook``, with checkpoints that are whole or not there. A drop-in: same arguments.

    The order of a save: (1) the checkpoint is written to a temporary file in its folder, synced, read back and
    compared byte for byte, loaded with weights only, renamed, and the folder synced; (2) ``last_checkpoint`` is
    replaced in the same way; (3) checkpoints beyond ``max_keep_ckpts`` and the former best one are deleted. Killed
    between any two steps, a run resumes with everything it had: the hub in the checkpoint says what step 3 has yet to
    delete, and a validation that was due there and that it does not know of is made up for, so the best checkpoint is
    the one of an undisturbed run.

    A write that fails (disk full, quota, permission, other bytes read than written) is logged as a warning, leaves
    the checkpoints that were there, and training goes on. Only when more than ``max_failures`` in a row fail, or the
    one at the very end does, the run ends with a UserError. A best checkpoint that cannot be written is not
    counted: the next better one is. Temporary files of killed runs are removed when training starts in their folder.

    Plain ``torch.load(path, weights_only=True)`` reads every checkpoint, without this package. Weights, optimizer and
    the place in the data are one file, so that no kill can part them; a best checkpoint is weights and ``meta`` alone.

    Local disk, and what is mounted as one, has all of this. On other storage (``out_dir='s3://...'``,
    ``backend_args``) an object is put, fetched and compared, see :class:`VerifiedBackend`. ``FlexibleRunner``'s
    strategies that write by themselves (DeepSpeed, FSDP, ColossalAI) have mmengine's guarantees only. One more
    checkpoint than ``max_keep_ckpts`` has to fit on the disk.

    Args:
        *args: As in ``CheckpointHook``.
        max_failures (int): Number of checkpoints in a row that may fail. Defaults to 3.
        **kwargs: As in ``CheckpointHook``.

    Raises:
        UserError: While training: too many failures, or ranks that would resume from different files.
    """

    def __init__(self, *args, max_failures: int = 3, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        if max_failures < 0:
            raise ValueError(f'max_failures is {max_failures}; 0 ends the run at the first failed checkpoint.')
        self.max_failures = max_failures
        self.num_failures = 0
        self.failed_step: int | None = None
        self.to_repeat: tuple[int, dict] | None = None  # step and meta of a checkpoint that does not know the best
        self.weights_alone = False  # of the checkpoint that is being written

    # Start of a training

    def before_run(self, runner: Runner) -> None:
        """Make sure that all ranks continue from the same checkpoint.

        Raises:
            UserError: They see different files (a shared file system that lags, or work dirs that are not shared).
        """
        if not is_resumed(runner):
            return
        chosen = sorted({Path(str(path)).name for path in all_gather_object(loaded_path(runner))})
        if len(chosen) > 1:
            raise UserError(f'The ranks would resume from different checkpoints: {", ".join(chosen)}. Name one: '
                            '--resume PATH.')

    def before_train(self, runner: Runner) -> None:
        inner = self.backend_args
        if self.file_client_args is not None:
            inner = {key: 'local' if value == 'disk' else value for key, value in self.file_client_args.items()}
        self.storage = dict(backend=NAME, inner=inner)
        super().before_train(runner)
        self.file_backend = get_file_backend(self.out_dir, backend_args=inner)
        hub = runner.message_hub
        if self.last_ckpt is None and 'last_ckpt' in hub.runtime_info:
            self.last_ckpt = hub.get_info('last_ckpt')
        if is_main_process():
            folders = [runner.work_dir] + [self.out_dir] * isinstance(self.file_backend, LocalBackend)
            for path in chain.from_iterable(map(remove_stale, folders)):
                runner.logger.info(f'{path} was left by a killed run and is removed.')
        if self.save_best:
            self._remove(runner, hub.runtime_info.get(SUPERSEDED, []))
            hub.update_info(SUPERSEDED, [])
        if validation_is_due(runner):
            runner.logger.info('The run was stopped before the validation that was due here; it is made up for.')
            runner.val_loop.run()

    # What is in a checkpoint

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Leave plain types, and of a best checkpoint the weights; the other hooks have had their turn."""
        for key in [key for key in checkpoint if self.weights_alone and key not in WEIGHTS]:
            del checkpoint[key]
        for key, value in checkpoint.items():
            checkpoint[key] = plain(value)

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Give the message hub its histories back."""
        hub = checkpoint.get('message_hub', {})
        if 'log_scalars' in hub:
            hub['log_scalars'] = histories(hub['log_scalars'])

    # Regular checkpoints

    def _save_checkpoint_with_step(self, runner: Runner, step: int, meta: dict) -> None:
        """Write a checkpoint, point ``last_checkpoint`` to it, then delete what it replaces."""
        name = self.filename_tmpl.format(step)
        path = str(self.file_backend.join_path(self.out_dir, name))
        info = dict(last_ckpt=path)
        kept: list[int] = []
        if self.max_keep_ckpts > 0:
            kept = [*(old for old in self.keep_ckpt_ids if old != step), step]
            info['keep_ckpt_ids'] = kept  # with the outdated one: a resumed run deletes it

        try:
            with promised(runner.message_hub, **info):
                on_all_ranks(lambda: runner.save_checkpoint(
                    self.out_dir, name, save_optimizer=self.save_optimizer,
                    save_param_scheduler=self.save_param_scheduler, meta=dict(meta), by_epoch=self.by_epoch,
                    backend_args=self.storage, **self.args))
            self.last_ckpt, self.keep_ckpt_ids = path, deque(kept)
            on_all_ranks(lambda: is_main_process() and write_bytes(Path(runner.work_dir) / POINTER, path.encode()))
        except WriteError as error:
            self._note_failure(runner, step, error)
            return
        self.num_failures, self.failed_step = 0, None
        outdated = []
        if self.max_keep_ckpts > 0:
            outdated = [self.file_backend.join_path(self.out_dir, self.filename_tmpl.format(old))
                        for old in kept[:-self.max_keep_ckpts]]
            self.keep_ckpt_ids = deque(kept[-self.max_keep_ckpts:])
            runner.message_hub.update_info('keep_ckpt_ids', list(self.keep_ckpt_ids))
        outdated += runner.message_hub.runtime_info.get(SUPERSEDED, [])
        if self.save_best:
            runner.message_hub.update_info(SUPERSEDED, [])
        self._remove(runner, outdated)

    def _note_failure(self, runner: Runner, step: int, error: WriteError) -> None:
        """Count and log a failed checkpoint.

        Raises:
            UserError: It is one too many.
        """
        self.num_failures += step != self.failed_step
        self.failed_step = step
        unit = 'epoch' if self.by_epoch else 'iteration'
        kept = 'There is no earlier one.' if self.last_ckpt is None else f'The last valid one is {self.last_ckpt}.'
        if self.num_failures > self.max_failures:
            raise UserError(
                f'{self.num_failures} checkpoints in a row could not be written, at {unit} {step} because: {error} '
                f'{kept} Make room for it (or set default_hooks.checkpoint.out_dir) and continue with --resume.')
        runner.logger.warning(
            f'The checkpoint of {unit} {step} is not there: {error} Failure {self.num_failures} in a row, '
            f'{self.max_failures} may be. {kept} Training goes on.')

    def _remove(self, runner: Runner, paths: Sequence[str]) -> None:
        """Delete checkpoints (deepspeed's are folders) on rank 0; one that stays is no reason to stop."""
        if not is_main_process():
            return
        for path in paths:
            try:
                if self.file_backend.isfile(path):
                    self.file_backend.remove(path)
                elif self.file_backend.isdir(path):
                    self.file_backend.rmtree(path)
            except OSError as error:
                runner.logger.warning(f'The outdated checkpoint {path} cannot be deleted ({error}).')

    # Best checkpoints

    def after_val_epoch(self, runner: Runner, metrics: dict) -> None:
        runner.message_hub.update_info(
            VALIDATED, runner.epoch if is_training(runner) and isinstance(runner.train_loop, EpochBasedTrainLoop) else
            runner.iter)
        super().after_val_epoch(runner, metrics)

    def after_val(self, runner: Runner) -> None:
        """Write the regular checkpoint that knows of the best one, now that every hook has seen the validation."""
        if self.to_repeat is not None:
            (step, meta), self.to_repeat = self.to_repeat, None
            self._save_checkpoint_with_step(runner, step, meta)

    def _save_best_checkpoint(self, runner: Runner, metrics: dict) -> None:
        """Write the best checkpoint; the regular one that knows of it, and the end of the former best, follow."""
        if not self.save_best:
            return
        if 'auto' in self.key_indicators:
            self._init_rule(self.rules, [next(iter(metrics))])
        step = runner.epoch if self.by_epoch else runner.iter
        meta = dict(epoch=runner.epoch, iter=runner.iter)
        updated = False
        for metric, rule in zip(self.key_indicators, self.rules):
            score, known = metrics[metric], runner.message_hub.runtime_info
            score_key, path_key = best_keys(self, metric)
            best = known.get(score_key, self.init_value_map[rule])
            if score is None or not self.is_better_than[metric](score, best):
                continue
            name = f'best_{metric}_{self.filename_tmpl.format(step)}'.replace('/', '_')
            path = self.file_backend.join_path(self.out_dir, name)
            superseded = [old for old in (*known.get(SUPERSEDED, []), known.get(path_key)) if old not in (None, path)]
            self.weights_alone = True
            try:
                with promised(runner.message_hub, **{score_key: score, path_key: path, SUPERSEDED: superseded}):
                    on_all_ranks(lambda name=name: runner.save_checkpoint(
                        self.out_dir, name, save_optimizer=False, save_param_scheduler=False, meta=dict(meta),
                        by_epoch=False, backend_args=self.storage))
            except WriteError as error:
                runner.logger.warning(f'The best checkpoint so far is not there: {error} The former one is kept.')
                continue
            finally:
                self.weights_alone = False
            if len(self.key_indicators) == 1:
                self.best_ckpt_path = path
            else:
                self.best_ckpt_path_dict[metric] = path
            updated = True
            runner.logger.info(f'The best checkpoint with {score:0.4f} {metric} at '
                               f'{step} {"epoch" if self.by_epoch else "iter"} is saved to {name}.')
        if updated and self.last_ckpt is not None:
            self.to_repeat = step, meta
        elif updated:
            self._remove(runner, runner.message_hub.runtime_info[SUPERSEDED])
            runner.message_hub.update_info(SUPERSEDED, [])

    # End of a training

    def after_train(self, runner: Runner) -> None:
        """Try a failed last checkpoint once more, then publish.

        Raises:
            UserError: It failed again.
        """
        step = runner.epoch if self.by_epoch else runner.iter
        if self.failed_step == step:
            self.max_failures = 0
            self._save_checkpoint_with_step(runner, step, dict(epoch=runner.epoch, iter=runner.iter))
        super().after_train(runner)

    @master_only
    def _publish_model(self, runner: Runner, ckpt_path: str | None) -> None:
        """Write the ``published_keys`` of a checkpoint to a file with its hash in the name."""
        if ckpt_path is None:
            return
        checkpoint = _load_checkpoint(ckpt_path)
        published = {key: value for key, value in checkpoint.items() if key in self.published_keys}
        digest = hashlib.sha256(pickle.dumps(published)).hexdigest()
        path = f'{os.path.splitext(ckpt_path)[0]}-{digest[:8]}.pth'
        try:
            save_checkpoint(published, path, backend_args=self.storage)
        except WriteError as error:
            print_log(f'The checkpoint is not published: {error}', logger='current', level=logging.WARNING)
        else:
            print_log(f'{ckpt_path} is published as {path}, without {sorted(set(checkpoint) - set(published))}.',
                      logger='current')


# A checkpoint at a moment of one's own, written by the CheckpointHook of the run, whatever its class

def checkpoint_hook(runner: Runner) -> CheckpointHook | None:
    """The hook that writes the checkpoints; None if the run writes none."""
    return next((hook for hook in runner.hooks if isinstance(hook, CheckpointHook)), None)


def best_keys(hook: CheckpointHook, metric: str) -> tuple[str, str]:
    """Names of the best score by a metric and of its checkpoint in the message hub, as mmengine has them."""
    suffix = '' if len(hook.key_indicators) == 1 else f'_{metric}'
    return f'best_score{suffix}', f'best_ckpt{suffix}'


def saves_this_iteration(runner: Runner) -> bool:
    """Whether a checkpoint is due after the iteration that is just ending."""
    hook = checkpoint_hook(runner)
    return hook is not None and not hook.by_epoch and hook.every_n_train_iters(runner, hook.interval, hook.save_begin)


def last_checkpoint(runner: Runner) -> str:
    """The path that ``last_checkpoint`` in the work dir holds; empty if there is none."""
    pointer = Path(runner.work_dir) / POINTER
    return pointer.read_text().strip() if pointer.is_file() else ''


def save_now(runner: Runner, iteration: int, again: bool = False) -> str | None:
    """Write a checkpoint between two iterations; all processes call it together.

    It is one of the checkpoints that ``max_keep_ckpts`` counts: ``iter_I.pth``, or ``epoch_E.pth`` of a run that
    saves by epoch, in the middle of an epoch ``epoch_E_iter_I.pth`` (E whole epochs, I iterations done).

    Args:
        runner (Runner): The training.
        iteration (int): Iterations done.
        again (bool): Write it even if the last checkpoint is of this very iteration. Defaults to False.

    Returns:
        str | None: Path of the checkpoint of this iteration; None if it could not be written.
    """
    hook = checkpoint_hook(runner)
    if hook is None:
        return None
    step = iteration
    if hook.by_epoch:
        loop = runner.train_loop
        whole = isinstance(loop, EpochBasedTrainLoop) and iteration == loop.epoch * len(loop.dataloader)
        step = loop.epoch if whole else f'{loop.epoch}_iter_{iteration}'
    name = hook.filename_tmpl.format(step)
    runner.call_hook('before_save_now')  # where the processes bring together what the first one writes
    found = [last_checkpoint(runner)]
    broadcast_object_list(found)
    if again or Path(found[0]).name != name:
        hook._save_checkpoint_with_step(runner, step, meta=dict(epoch=runner.epoch, iter=iteration))
        found = [last_checkpoint(runner)]
        broadcast_object_list(found)
    return found[0] if Path(found[0]).name == name else None
