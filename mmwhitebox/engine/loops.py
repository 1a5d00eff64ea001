"""Train loops of mmengine that run within contexts and can begin in the middle of an epoch.

A config names a loop of mmengine, or by ``by_epoch`` none at all: then mmengine takes its class without asking the
registry. So the loop of a run is extended when it is built, :func:`own_loop`.
"""
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack
from itertools import islice
from typing import Any

from mmengine.runner import BaseLoop, EpochBasedTrainLoop, Runner
from torch.utils.data import DataLoader, Sampler

from .runner_parts import replace_train_loop
from .seeded_batches import NumberedBatches


def batches_from(loader: DataLoader, first: int) -> Iterable:
    """The batches of a pass but for the first few; of a loader that a hook has put there they are read and dropped."""
    if not isinstance(loader.batch_sampler, NumberedBatches):
        return islice(loader, first, None)
    loader.batch_sampler.start = first  # again: a hook may have looked at a batch
    return loader


class ContextLoop(BaseLoop):
    """A train loop that runs within contexts.

    Attributes:
        contexts (list[Callable]): They make the contexts, the outermost first; used up by the next run.
    """

    contexts: list[Callable[[], AbstractContextManager]]

    def run(self) -> Any:
        """The loop's own run, within the contexts."""
        contexts, self.contexts = self.contexts, []
        with ExitStack() as stack:
            for make in contexts:
                stack.enter_context(make())
            return super().run()


class MidEpochLoop(EpochBasedTrainLoop):
    """An epoch loop whose next epoch may begin at any of its batches: what hooks are told of them is their number.

    Attributes:
        first_batch (int): Batches that the loader leaves out of the next epoch.
    """

    first_batch: int

    def run_epoch(self) -> None:
        """Iterate one epoch, or the rest of one."""
        first, self.first_batch = self.first_batch, 0
        self.runner.call_hook('before_train_epoch')
        self.runner.model.train()
        for idx, data_batch in enumerate(batches_from(self.dataloader, first), first):
            self.run_iter(idx, data_batch)
        self.runner.call_hook('after_train_epoch')
        self._epoch += 1


class EndlessBatches:
    """The batches of a loader, pass after pass: mmengine's iterator of a loop by iterations, begun at any place.

    Args:
        loader (DataLoader): Begins in the middle of a pass by itself.
        epoch (int): Number of the pass to begin with. Defaults to 0.
        first_batch (int): Batches that the loader leaves out of that pass. Defaults to 0.
    """

    def __init__(self, loader: DataLoader, epoch: int = 0, first_batch: int = 0) -> None:
        self.loader = loader
        self.epoch = epoch
        self.first_batch = first_batch
        self.iterator: Iterator | None = None

    def begin(self) -> None:
        """Begin a pass, of which a sampler with an order for every pass is told: a hook has told it of the first."""
        sampler = index_sampler(self.loader)
        if self.epoch > 0 and hasattr(sampler, 'set_epoch'):
            sampler.set_epoch(self.epoch)
        self.iterator = iter(batches_from(self.loader, self.first_batch))
        self.first_batch = 0

    def __iter__(self) -> 'EndlessBatches':
        return self

    def __next__(self) -> Any:
        if self.iterator is None:
            self.begin()
        try:
            return next(self.iterator)
        except StopIteration:
            self.epoch += 1
            self.begin()
            return next(self.iterator)

    def skip_iter(self, num_iters: int) -> None:
        """mmengine's way to the place of a resumed training; these batches begin there."""


def index_sampler(loader: DataLoader) -> Sampler | Iterable:
    """The sampler that chooses the indices, also the one inside a batch sampler."""
    return getattr(loader.batch_sampler, 'sampler', loader.sampler)


def own_loop(runner: Runner) -> ContextLoop:
    """The train loop of a run with what this module adds to it; its class and state stay otherwise.

    A loop of the user's own class keeps all that it overrides. To be called before the loop runs.
    """
    loop = runner.train_loop
    if isinstance(loop, ContextLoop):
        return loop
    kind = type(loop)
    bases = (ContextLoop, kind)
    if isinstance(loop, EpochBasedTrainLoop):
        bases = (ContextLoop, MidEpochLoop) if kind is EpochBasedTrainLoop else (ContextLoop, kind, MidEpochLoop)
    own = BaseLoop.__new__(type(kind.__name__, bases, {}))
    vars(own).update(vars(loop), contexts=[], first_batch=0)
    replace_train_loop(runner, own)
    return own


def run_within(runner: Runner, make: Callable[[], AbstractContextManager]) -> None:
    """Let the train loop of a run, which is built and does not run yet, run within one more context."""
    own_loop(runner).contexts.append(make)
