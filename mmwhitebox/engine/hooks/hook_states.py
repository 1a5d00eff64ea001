"""What hooks remember between iterations, in the checkpoint.

Of the hooks of mmengine, mmseg and mmpretrain most remember nothing, or nothing that a training depends on (times,
profiles, pictures). ``CheckpointHook`` keeps its scores in the message hub, ``EMAHook`` its average beside the model,
``SwitchRecipeHook`` looks at the epoch. ``EarlyStoppingHook`` is left.
"""
from mmengine.hooks import EarlyStoppingHook
from mmengine.runner import Runner

STATE = ('wait_count', 'best_score')  # of an EarlyStoppingHook
INEXACT = {
    'SwAVHook': 'its queue is that of the end of an epoch, from a file in the work dir',
}


def early_stops(runner: Runner) -> list[EarlyStoppingHook]:
    """The hooks with a state to keep."""
    return [hook for hook in runner.hooks if isinstance(hook, EarlyStoppingHook)]


def number(value: object) -> object:
    """A number of Python for one of NumPy or torch: a checkpoint is read with weights only."""
    return value.item() if hasattr(value, 'item') else value


def hook_states(runner: Runner) -> list[tuple[str, dict]]:
    """Class and state of the hooks of a run, in the order of the hooks."""
    return [(EarlyStoppingHook.__name__, {key: number(getattr(hook, key)) for key in STATE})
            for hook in early_stops(runner)]


def restore_hooks(runner: Runner, states: list[tuple[str, dict]]) -> None:
    """Give hooks their states back, in order; a training that had stopped early has stopped."""
    kept = [state for name, state in states if name == EarlyStoppingHook.__name__]
    for hook, state in zip(early_stops(runner), kept):
        vars(hook).update(state)
        reached = hook.stopping_threshold is not None and hook.rule_map[hook.rule](
            hook.best_score, hook.stopping_threshold)
        if reached or hook.wait_count >= hook.patience:
            runner.train_loop.stop_training = True
            runner.logger.warning(f'The training had been stopped early by {hook.monitor}, at '
                                  f'{hook.best_score:g}: nothing is left to do. A greater patience goes on.')


def warn_of_inexact_hooks(runner: Runner) -> None:
    """Log a line for every hook with which a resumed training is another one."""
    for hook in runner.hooks:
        for name in (owner.__name__ for owner in type(hook).__mro__):
            if name in INEXACT:
                runner.logger.warning(f'A resumed training will not be exact: {type(hook).__name__} does not remember '
                                      f'everything ({INEXACT[name]}).')
