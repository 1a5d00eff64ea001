"""What the schedulers of a run are going to do, by stepping copies of them: nothing of the run moves."""
import copy
from collections.abc import Iterator, Sequence
from types import SimpleNamespace

from mmengine.optim import OptimWrapper
from mmengine.runner import BaseLoop, EpochBasedTrainLoop, Runner

from .runner_parts import optim_wrappers

PER_GROUP = ('base_values', 'min_values', '_last_value')  # attributes of a scheduler with a value for every group


def options_of(group: dict) -> dict:
    """A parameter group of an optimizer without its parameters."""
    return {key: value for key, value in group.items() if key != 'params'}


def scheduled_optimizers(runner: Runner) -> dict[str, tuple[OptimWrapper, list]]:
    """The optimizer wrappers of a run with their built schedulers, by name; the only one has the name ''."""
    schedulers = runner.param_schedulers or []
    return {name: (wrapper, list(schedulers.get(name, []) if isinstance(schedulers, dict) else schedulers))
            for name, wrapper in optim_wrappers(runner).items()}


class Rehearsal:
    """Copies of schedulers that step copies of some of the groups of their optimizer.

    Args:
        schedulers (Sequence): Schedulers of one optimizer, in their order, with the state that they have.
        groups (Sequence[dict]): The groups of that optimizer.
        chosen (Sequence[int]): Which groups to step.
    """

    def __init__(self, schedulers: Sequence, groups: Sequence[dict], chosen: Sequence[int]) -> None:
        self.groups = [options_of(groups[i]) for i in chosen]

        def step() -> None:
            """Schedulers look at whether the optimizer's own step counts."""

        step._with_counter = True
        optimizer = SimpleNamespace(param_groups=self.groups, step=step, _global_step=0)
        self.schedulers = []
        for scheduler in schedulers:
            own = copy.copy(scheduler)
            own.optimizer, own.verbose = optimizer, False
            for key in PER_GROUP:
                if isinstance(getattr(own, key, None), (list, tuple)):
                    setattr(own, key, [getattr(own, key)[i] for i in chosen])
            self.schedulers.append(own)

    def run(self, start: int, end: int, epoch_length: int) -> Iterator[None]:
        """Go through iterations, with a stop before each; an epoch ends after every ``epoch_length`` (0: never).

        A scheduler that looks at a validation only counts the epochs.
        """
        in_turn = sorted(self.schedulers, key=lambda scheduler: scheduler.by_epoch)  # of iterations first
        for done in range(start + 1, end + 1):
            yield
            ends_epoch = epoch_length and done % epoch_length == 0
            for scheduler in in_turn:
                if ends_epoch or not scheduler.by_epoch:
                    scheduler.step()


def epoch_length(loop: BaseLoop) -> int:
    """Iterations after which a train loop ends an epoch; 0 for one that counts iterations alone."""
    return len(loop.dataloader) if isinstance(loop, EpochBasedTrainLoop) else 0


def fast_forward(schedulers: Sequence, groups: list[dict], iterations: int, length: int) -> None:
    """Bring fresh schedulers, and the groups that they set, to where ``iterations`` iterations bring them.

    Groups with equal options take the same way: it is gone once for them all.

    Args:
        schedulers (Sequence): As they were built: not stepped yet.
        groups (list[dict]): All groups of their optimizer, fresh as well. Changed in place.
        iterations (int): Iterations done.
        length (int): Iterations of an epoch, 0 if none ever ends.
    """
    keys = [repr((sorted(options_of(group).items(), key=str), [getattr(scheduler, name)[i] for scheduler in schedulers
                                                               for name in PER_GROUP if hasattr(scheduler, name)]))
            for i, group in enumerate(groups)]
    ways = [list(dict.fromkeys(keys)).index(key) for key in keys]
    rehearsal = Rehearsal(schedulers, groups, [ways.index(way) for way in sorted(set(ways))])
    for _ in rehearsal.run(0, iterations, length):
        pass
    for group, way in zip(groups, ways):
        group.update(rehearsal.groups[way])
    for scheduler, stepped in zip(schedulers, rehearsal.schedulers):
        state = {key: value for key, value in vars(stepped).items() if key not in ('optimizer', 'verbose')}
        for key in PER_GROUP:
            if isinstance(state.get(key), list):
                state[key] = [state[key][way] for way in ways]
        vars(scheduler).update(state)


def learning_rates(schedulers: Sequence, groups: Sequence[dict], start: int, end: int, length: int) -> list[float]:
    """The highest learning rate of all groups in every iteration from ``start`` to ``end``.

    Schedulers scale the groups alike, so the group of the highest one stands for all. What a validation may change
    is not foreseen.

    Args:
        schedulers (Sequence): Schedulers of one optimizer, as they are after ``start`` iterations.
        groups (Sequence[dict]): The groups of that optimizer.
        start (int): Iterations done.
        end (int): Iterations of the whole training.
        length (int): Iterations of an epoch, 0 if none ever ends.
    """
    rates = [group.get('initial_lr', group['lr']) for group in groups]
    rehearsal = Rehearsal([scheduler for scheduler in schedulers if scheduler.param_name == 'lr'], groups,
                          [max(range(len(rates)), key=rates.__getitem__)])
    return [rehearsal.groups[0]['lr'] for _ in rehearsal.run(start, end, length)]
