"""A learning rate that is what the config says, or a line that says why it is not."""
from collections import Counter

from mmengine.hooks import Hook
from mmengine.optim import BaseOptimWrapper, OptimWrapperDict
from mmengine.runner import EpochBasedTrainLoop, IterBasedTrainLoop, Runner

from mmwhitebox.errors import ConfigError, UserError
from mmwhitebox.registry import HOOKS

from ..rehearsal import epoch_length, fast_forward, learning_rates, options_of, scheduled_optimizers
from ..runner_parts import is_resumed

LENGTHS = {'end', 'T_max', 'total_steps', 'periods'}  # options of a scheduler that say how long it is
PROGRESS = {'last_step', 'base_values', 'best', 'num_bad_epochs', 'cooldown_counter', 'rule_worse'}
DERIVED = {'total_iters', 'cumulative_periods', 'verbose'}  # from other options
NO_RATE = 1e-12  # of the highest learning rate: no float32 parameter moves
WASTED = 0.01  # of a training may be at such a rate: a schedule that reaches 0 does so in its last step

Changes = dict[str, tuple[object, object]]  # by path in the config: value of the checkpoint, of the config


# What a config and a checkpoint say of a schedule

def readable(value: object) -> object:
    """A value as a config would have it."""
    if isinstance(value, Counter):
        return sorted(value.elements())
    return list(value) if isinstance(value, tuple) else value


def decided(state: dict) -> dict:
    """The part of a scheduler's state that a config decides, as the scheduler has it."""
    return {key: value for key, value in state.items()
            if key[0] != '_' and key not in PROGRESS and key != 'optimizer'}


def definition(state: dict) -> dict:
    """What a config says of a scheduler, out of the scheduler's state."""
    return {key: readable(value) for key, value in decided(state).items()
            if key not in DERIVED and not callable(value)}


def start_value(group: dict, key: str) -> object:
    """An option of a parameter group before any scheduler changed it."""
    return readable(group.get(f'initial_{key}', group.get(key)))


def changed_options(then: list[dict], now: list[dict], path: str) -> Changes:
    """Options of an optimizer that differ; ``then`` and ``now`` are its groups, the one of the config's base last."""
    changes: Changes = {}
    for key in now[-1]:
        pairs = [(start_value(old, key), start_value(new, key)) for old, new in zip(then, now)
                 if key in old and start_value(old, key) != start_value(new, key)]
        if pairs and not key.startswith(('initial_', 'max_', 'min_')):
            base = key in then[-1] and start_value(then[-1], key) != start_value(now[-1], key)
            name = f'{path}.{key}' if base else f'{key} of {len(pairs)} parameter group(s)'
            changes[name] = pairs[-1]
    return changes


def listed(changes: Changes, form: str) -> str:
    return ', '.join(form.format(name, *values) for name, values in changes.items())


@HOOKS.register_module()
class ScheduleHook(Hook):
    """Compares the schedule that a resumed training restores with the config, and says what is followed.

    mmengine restores learning rates, weight decay and schedulers from the checkpoint, whatever the config says now.
    With this hook, a length that changed (``max_iters``, ``max_epochs``; ``end``, ``T_max``, ``total_steps`` or
    ``periods`` of a scheduler) lets the training follow the config: its schedule and its optimizer's options, as if
    the training had been made with them from the start. Otherwise the checkpoint is followed, and values of the
    config that this ignores are named. The reductions of a scheduler that looks at validations are kept either way.

    A schedule that leaves the rest of the training at a learning rate of 0, or never moves because it counts epochs
    in a training without epochs, is refused when the training starts.

    Args:
        on_resume (str): 'auto', or what is followed on resume: 'config' or 'checkpoint'. Defaults to 'auto'.
        allow_zero_lr (bool): Train at a learning rate of 0 nevertheless. Defaults to False.

    Raises:
        UserError: Another value of ``on_resume``; while training starts: a checkpoint of another optimizer, a
            schedule that cannot be followed, a learning rate that is 0 for the rest.
    """

    priority = 'HIGHEST'

    def __init__(self, on_resume: str = 'auto', allow_zero_lr: bool = False) -> None:
        if on_resume not in ('auto', 'config', 'checkpoint'):
            raise UserError(f"ScheduleHook: on_resume is 'auto', 'config' or 'checkpoint', not {on_resume!r}.")
        self.on_resume = on_resume
        self.allow_zero_lr = allow_zero_lr
        self.built: dict = {}  # by optimizer: its groups and the states of its schedulers, as the config has them
        self.loaded: dict | None = None  # the same of the checkpoint
        self.lengths: dict = {}  # max_epochs, max_iters of the checkpoint

    # What is there

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Note what the config says, before the checkpoint's values take its place.

        Raises:
            UserError: The checkpoint's optimizer is of another kind, or of other parameters.
        """
        if not is_resumed(runner) or not isinstance(runner.optim_wrapper, BaseOptimWrapper | OptimWrapperDict):
            return
        self.lengths = checkpoint.get('message_hub', {}).get('runtime_info', {})
        self.loaded = {}
        for name, (wrapper, schedulers) in scheduled_optimizers(runner).items():
            self.built[name] = ([options_of(group) for group in wrapper.param_groups],
                                [{**vars(scheduler)} for scheduler in schedulers])
            optimizer, states = checkpoint.get('optimizer'), checkpoint.get('param_schedulers')
            if name:
                optimizer, states = (optimizer or {}).get(name), (states or {}).get(name)
            groups = None
            if optimizer is not None:
                self.check_optimizer(wrapper.optimizer.param_groups, optimizer['param_groups'])
                base = optimizer.get('base_param_settings')
                groups = [options_of(group) for group in (*optimizer['param_groups'], *([base] if base else []))]
            self.loaded[name] = groups, None if states is None else [dict(state) for state in states]

    def check_optimizer(self, built: list[dict], loaded: list[dict]) -> None:
        """Compare the groups of an optimizer with those of a checkpoint: torch would fail, or miss options later.

        Raises:
            UserError: They do not fit.
        """
        reason = ''
        if [len(group['params']) for group in built] != [len(group['params']) for group in loaded]:
            reason = (f'{sum(len(group["params"]) for group in loaded)} parameters in {len(loaded)} group(s), the '
                      f'config makes {sum(len(group["params"]) for group in built)} in {len(built)}')
        ours, theirs = ({key for key in groups[0] if '_lr' not in key and not key.startswith('initial_')}
                        for groups in (built, loaded))
        if not reason and ours - theirs and theirs - ours:
            reason = (f'another kind: it has the options {", ".join(sorted(theirs - ours))}, the config\'s has '
                      f'{", ".join(sorted(ours - theirs))}')
        if reason:
            raise UserError(f'--resume: the optimizer of the checkpoint is of {reason}. Resume with the model and the '
                            'optimizer of the checkpoint, or start from its weights: --cfg-options load_from=PATH, '
                            'without --resume.')

    def compare(self, runner: Runner) -> tuple[Changes, Changes, list[str]]:
        """Changes of lengths, other changes, and why the checkpoint's schedule cannot be followed."""
        loop = runner.train_loop
        lengths, others, reasons = {}, {}, []
        key = 'max_epochs' if epoch_length(loop) else 'max_iters'
        if self.lengths.get(key, getattr(loop, key)) != getattr(loop, key):
            lengths[f'train_cfg.{key}'] = self.lengths[key], getattr(loop, key)
        for name, (groups, schedulers) in self.built.items():
            then, states = self.loaded[name]
            prefix = f'{name}.' if name else ''
            if then is not None and len(then) == len(groups):
                others.update(changed_options(then, groups, f'optim_wrapper.{prefix}optimizer'))
            if states is None:
                reasons += ['it has none'] * bool(schedulers)
                continue
            fresh = [definition(state) for state in schedulers]
            stored = [definition(state) for state in states]
            if [(set(state), state.get('param_name')) for state in fresh] != \
                    [(set(state), state.get('param_name')) for state in stored]:
                reasons.append(f'it has {len(stored)} scheduler(s) and the config {len(fresh)}'
                               if len(fresh) != len(stored) else 'its schedulers are of other types')
                continue
            for i, (old, new) in enumerate(zip(stored, fresh)):
                for option in new:
                    if old[option] != new[option]:
                        place = f'param_scheduler.{prefix}{i}.{option}'
                        (lengths if option in LENGTHS else others)[place] = old[option], new[option]
        return lengths, others, reasons

    def iterations_done(self, runner: Runner) -> int:
        """Iterations done, in the length that an epoch has now."""
        loop, length = runner.train_loop, epoch_length(runner.train_loop)
        before = length
        if length and self.lengths.get('max_epochs') and self.lengths.get('max_iters'):
            before = self.lengths['max_iters'] // self.lengths['max_epochs']
        if before == length:
            return loop.iter
        return loop.epoch * length + (loop.iter - loop.epoch * before) * length // before

    # What is done

    def before_train(self, runner: Runner) -> None:
        """Choose what a resumed training follows, and look where it leads.

        Raises:
            UserError: The checkpoint's schedule was asked for and cannot be followed.
            ConfigError: A schedule never moves, or leaves the rest of the training at a learning rate of 0.
        """
        if not isinstance(runner.train_loop, (EpochBasedTrainLoop, IterBasedTrainLoop)):
            return
        if self.loaded is not None:
            self.resume(runner)
            self.loaded = None
        self.check_units(runner)
        if not self.allow_zero_lr:
            self.check_rates(runner)

    def resume(self, runner: Runner) -> None:
        """Follow the config or the checkpoint, and say so if that makes a difference."""
        lengths, others, reasons = self.compare(runner)
        choice = self.on_resume
        if choice == 'auto':
            choice = 'config' if lengths or reasons else 'checkpoint'
        if choice == 'checkpoint':
            if reasons:
                raise UserError(f'--resume: the schedule of the checkpoint cannot be followed: {reasons[0]}. Use '
                                '--resume-schedule config.')
            if lengths or others:
                runner.logger.warning(
                    '--resume: the schedule and the optimizer\'s options are those of the checkpoint; ignored of the '
                    f'config: {listed({**lengths, **others}, "{0}={2} (checkpoint: {1})")}. To follow the config: '
                    '--resume-schedule config.')
        elif lengths or others or reasons:
            self.follow_config(runner, keep=not reasons)
            what = [f'the schedule of the checkpoint is not followed, {reasons[0]}'] if reasons else []
            what += [listed({**lengths, **others}, '{0} {1} -> {2}')] if lengths or others else []
            runner.logger.warning(
                f'--resume: the schedule and the optimizer\'s options are those of the config, as after '
                f'{runner.train_loop.iter} iterations ({"; ".join(what)}). To follow the checkpoint: '
                '--resume-schedule checkpoint.')

    def follow_config(self, runner: Runner, keep: bool) -> None:
        """Put everything where it were, had the training been made with this config from the start.

        Args:
            runner (Runner): The training.
            keep (bool): Keep what schedulers that look at validations have done; nobody can foresee it.
        """
        done, length = self.iterations_done(runner), epoch_length(runner.train_loop)
        for name, (wrapper, schedulers) in scheduled_optimizers(runner).items():
            options, states = self.built[name]
            groups = wrapper.param_groups
            then = [options_of(group) for group in groups]
            for group, fresh in zip(groups, options):
                group.update(fresh)
            if keep and any(getattr(scheduler, 'need_val_args', False) for scheduler in schedulers):
                for scheduler, state in zip(schedulers, states):
                    vars(scheduler).update(decided(state))
                for group, old in zip(groups, then):
                    for key in {scheduler.param_name for scheduler in schedulers}:
                        if old.get(f'initial_{key}') and key in old:
                            same = group[f'initial_{key}'] == old[f'initial_{key}']
                            group[key] = old[key] if same else \
                                old[key] / old[f'initial_{key}'] * group[f'initial_{key}']
                continue
            for scheduler, state in zip(schedulers, states):
                vars(scheduler).clear()  # of what another type of scheduler left
                vars(scheduler).update(state)
            fast_forward(schedulers, groups, done, length)

    def check_units(self, runner: Runner) -> None:
        """Refuse schedulers that wait for the end of an epoch in a training that has none."""
        if epoch_length(runner.train_loop):
            return
        for name, (_, schedulers) in scheduled_optimizers(runner).items():
            for i, scheduler in enumerate(schedulers):
                if scheduler.by_epoch and not getattr(scheduler, 'need_val_args', False):
                    raise ConfigError(
                        f'param_scheduler.{name + "." if name else ""}{i} ({type(scheduler).__name__}) counts epochs, '
                        'train_cfg iterations: it would never change anything. Set by_epoch=False in it, and its '
                        'lengths in iterations.')

    def check_rates(self, runner: Runner) -> None:
        """Refuse a learning rate that is 0 for the rest of the training."""
        loop, length = runner.train_loop, epoch_length(runner.train_loop)
        start, end = self.iterations_done(runner), loop.max_epochs * length if length else loop.max_iters
        for name, (wrapper, schedulers) in scheduled_optimizers(runner).items():
            groups = wrapper.param_groups
            highest = max((group.get('initial_lr', group['lr']) for group in groups), default=0)
            if not schedulers or not highest:
                continue  # a learning rate of 0 that the config asks for
            lrs = learning_rates(schedulers, groups, start, end, length)
            zeros = next((i for i, lr in enumerate(reversed(lrs)) if lr > NO_RATE * highest), len(lrs))
            step = max([1, *(length for scheduler in schedulers if scheduler.by_epoch)])
            if zeros > max(step, WASTED * end):
                first, unit = end - zeros, 'max_epochs' if length else 'max_iters'
                limit = first // length if length else first
                place = f'param_scheduler{"." + name if name else ""}'
                raise ConfigError(
                    f'The learning rate is 0 after iteration {first}, and the training goes on to {end}: nothing would '
                    f'be learned there. Let the schedule end with the training (end or T_max in {place}), end the '
                    f'training with the schedule (train_cfg.{unit}={limit}), or insist: '
                    'default_hooks.schedule.allow_zero_lr=True.')

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Leave out functions (of OneCycleLR): they make a checkpoint that is not read with weights only."""
        states = checkpoint.get('param_schedulers') or []
        for scheduler_states in states.values() if isinstance(states, dict) else [states]:
            for state in scheduler_states:
                for key in [key for key, value in state.items() if callable(value)]:
                    del state[key]
