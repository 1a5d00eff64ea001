"""What the schedulers of a run are going to do, by stepping copies of them: nothing of the run moves."""
import copy
from collections.abc import Sequence
from types import SimpleNamespace

from mmengine.optim import OptimWrapper, OptimWrapperDict
from mmengine.runner import BaseLoop, EpochBasedTrainLoop, Runner

PER_GROUP = ('base_values', 'min_values', '_last_value')  # attributes of a scheduler with a value for every group


def options_of(group: dict) -> dict:
    """A parameter group of an optimizer without its parameters."""
    return {key: value for key, value in group.items() if key != 'params'}


def scheduled_optimizers(runner: Runner) -> dict[str, tuple[OptimWrapper, list]]:
    """The optimizer wrappers of a run with their built schedulers, by name; the only one has the name ''."""
    wrapper, schedulers = runner.optim_wrapper, runner.param_schedulers
    if isinstance(wrapper, OptimWrapperDict):
        return {name: (one, list((schedulers or {}).get(name, []))) for name, one in wrapper.items()}
    assert isinstance(wrapper, OptimWrapper)  # built by now
    return {'': (wrapper, list(schedulers or []))}


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
        self.by_epoch = [scheduler for scheduler in self.schedulers if scheduler.by_epoch]
        self.by_iteration = [scheduler for scheduler in self.schedulers if not scheduler.by_epoch]

    def iterate(self) -> None:
        """What happens after an iteration."""
        for scheduler in self.by_iteration:
            scheduler.step()

    def end_epoch(self) -> None:
        """What happens after an epoch; a scheduler that looks at a validation only counts it."""
        for scheduler in self.by_epoch:
            scheduler.step()

    def run(self, iterations: int, epoch_length: int) -> None:
        """Go through some iterations from the start; an epoch ends after every ``epoch_length`` (0: never)."""
        whole, rest = divmod(iterations, epoch_length) if epoch_length else (0, iterations)
        for _ in range(whole):
            if self.by_iteration:
                for _ in range(epoch_length):
                    self.iterate()
            self.end_epoch()
        for _ in range(rest):
            self.iterate()


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
    rehearsal.run(iterations, length)
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
    lrs = []
    for iteration in range(start, end):
        lrs.append(rehearsal.groups[0]['lr'])
        rehearsal.iterate()
        if length and (iteration + 1) % length == 0:
            rehearsal.end_epoch()
    return lrs
