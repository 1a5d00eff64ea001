"""A checkpoint at a moment of one's own, written by the CheckpointHook of the run, whatever its class."""
from pathlib import Path

from mmengine.dist import broadcast_object_list
from mmengine.hooks import CheckpointHook
from mmengine.runner import EpochBasedTrainLoop, Runner


def checkpoint_hook(runner: Runner) -> CheckpointHook | None:
    """The hook that writes the checkpoints; None if the run writes none."""
    return next((hook for hook in runner.hooks if isinstance(hook, CheckpointHook)), None)


def saves_this_iteration(runner: Runner) -> bool:
    """Whether a checkpoint is due after the iteration that is just ending."""
    hook = checkpoint_hook(runner)
    return hook is not None and not hook.by_epoch and hook.every_n_train_iters(runner, hook.interval, hook.save_begin)


def last_checkpoint(runner: Runner) -> str:
    """The path that ``last_checkpoint`` in the work dir holds; empty if there is none."""
    pointer = Path(runner.work_dir) / 'last_checkpoint'
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
