"""Where a data loader stands, and samples that do not depend on how they got there.

The batches of a loader are numbered, and each sample is read with its own seed (``__getitems__`` is how torch asks
a data set for a batch). So the stream of samples is the same for any number of workers, and it goes on from any batch
without reading those before it.
"""
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from torch.utils.data import DataLoader, Dataset, IterableDataset

from .seeds import SAMPLE, seed_generators


class NumberedBatch(list):
    """Indices of one batch; the i-th is drawn at ``position + i * stride`` of ``epoch``, counted over all processes."""

    def __init__(self, indices: list, epoch: int, position: int, stride: int) -> None:
        super().__init__(indices)
        self.epoch = epoch
        self.position = position
        self.stride = stride


class NumberedBatches:
    """A batch sampler whose batches know their place, and which can begin in the middle of an epoch.

    Args:
        batches (Iterable): The batch sampler; what it yields may depend on its seed and epoch alone.
        epoch (Callable): Gives the number of the epoch that an iteration over the sampler begins.
        rank (int): This process.
        world_size (int): Number of processes.
    """

    def __init__(self, batches: Any, epoch: Callable[[], int], rank: int, world_size: int) -> None:
        self.batches = batches
        self.epoch = epoch
        self.rank = rank
        self.world_size = world_size
        self.start = 0  # batches that the next iteration leaves out

    def __getattr__(self, name: str) -> Any:
        if name == 'batches':
            raise AttributeError(name)
        return getattr(self.batches, name)

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[NumberedBatch]:
        epoch, start = self.epoch(), self.start
        self.start = position = 0
        for number, indices in enumerate(self.batches):
            if number >= start:
                yield NumberedBatch(indices, epoch, position * self.world_size + self.rank, self.world_size)
            position += len(indices)


def read_batch(dataset: Dataset, seed: int, indices: list) -> list[Any]:
    """The samples of a batch, each read with the seed of its place; in a worker, or in the main process.

    Args:
        dataset (Dataset): The data set.
        seed (int): Seed of the run.
        indices (list): A :class:`NumberedBatch`; of any other list, the samples without a seed.
    """
    whole = getattr(type(dataset), '__getitems__', None)
    samples = []
    for i, index in enumerate(indices):
        if isinstance(indices, NumberedBatch):
            seed_generators(seed, SAMPLE, indices.epoch, indices.position + i * indices.stride)
        samples.append(dataset[index] if whole is None else whole(dataset, [index])[0])
    return samples


def number_batches(loader: DataLoader, seed: int, epoch: Callable[[], int], rank: int,
                   world_size: int) -> NumberedBatches:
    """Number the batches of a built loader and seed its samples, before the loader is used.

    Args:
        loader (DataLoader): Any loader with batches; its data set, sampler and options stay as they are.
        seed (int): Seed of the run.
        epoch, rank, world_size: As in :class:`NumberedBatches`.

    Returns:
        NumberedBatches: The new batch sampler of the loader.

    Raises:
        TypeError: The loader does not make batches of indices, so that its samples have no place.
    """
    if loader.batch_sampler is None or isinstance(loader.dataset, IterableDataset):
        raise TypeError('the loader reads a stream of samples without indices or batches')
    loader.dataset.__getitems__ = partial(read_batch, loader.dataset, seed)
    batches = NumberedBatches(loader.batch_sampler, epoch, rank, world_size)
    object.__setattr__(loader, 'batch_sampler', batches)  # torch guards it against a change in use; it is not in use
    return batches
