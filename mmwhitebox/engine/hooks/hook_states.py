"""What hooks remember between iterations, in the checkpoint.

Of the hooks of mmengine, mmseg and mmpretrain most remember nothing, or nothing that a training depends on (times,
profiles, pictures). ``CheckpointHook`` keeps its scores in the message hub, ``EMAHook`` its average beside the model,
``SwitchRecipeHook`` looks at the epoch; the rest is listed here.
"""

from mmengine.hooks import EarlyStoppingHook, Hook
from mmengine.runner import Runner

STATES = {'EarlyStoppingHook': ('wait_count', 'best_score')}
INEXACT = {
    'SwAVHook': 'its queue is that of the end of an epoch, from a file in the work dir',
}


def names(hook: Hook) -> list[str]:
    """Names of the classes of a hook, its own first: a class of one's own counts as what it is derived from."""
    return [owner.__name__ for owner in type(hook).__mro__]


def remembering(runner: Runner) -> list[tuple[str, Hook, tuple[str, ...]]]:
    """The hooks with a state to keep: the class that :data:`STATES` knows, the hook, its attributes."""
    return [(name, hook, STATES[name]) for hook in runner.hooks
            for name in [next((name for name in names(hook) if name in STATES), None)] if name]


def number(value: object) -> object:
    """A number of Python for one of NumPy or torch: a checkpoint is read with weights only."""
    return value.item() if hasattr(value, 'item') else value


def hook_states(runner: Runner) -> list[tuple[str, dict]]:
    """The states of the hooks of a run, in the order of the hooks."""
    return [(name, {key: number(getattr(hook, key)) for key in keys}) for name, hook, keys in remembering(runner)]


def restore_hooks(runner: Runner, states: list[tuple[str, dict]]) -> None:
    """Give hooks their states back, by class and in order; a training that had stopped early has stopped."""
    for name, hook, _ in remembering(runner):
        found = next((entry for entry in states if entry[0] == name), None)
        if found is None:
            continue
        states = [entry for entry in states if entry is not found]
        vars(hook).update(found[1])
        if isinstance(hook, EarlyStoppingHook) and has_stopped(hook):
            runner.train_loop.stop_training = True
            runner.logger.warning(f'The training had been stopped early by {hook.monitor}, at '
                                  f'{hook.best_score:g}: nothing is left to do. A greater patience goes on.')


def has_stopped(hook: EarlyStoppingHook) -> bool:
    """Whether what the hook remembers ends the training."""
    reached = hook.stopping_threshold is not None and hook.rule_map[hook.rule](hook.best_score, hook.stopping_threshold)
    return reached or hook.wait_count >= hook.patience


def warn_of_inexact_hooks(runner: Runner) -> None:
    """Log a line for every hook with which a resumed training is another one."""
    for hook in runner.hooks:
        for name in names(hook):
            if name in INEXACT:
                runner.logger.warning(f'A resumed training will not be exact: {type(hook).__name__} does not remember '
                                      f'everything ({INEXACT[name]}).')
