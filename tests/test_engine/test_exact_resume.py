"""A resumed training ends with the parameters of an undisturbed one, bit for bit."""
import os
import pickle
import subprocess
import sys

import pytest
import torch
from mmengine.dataset import DefaultSampler, InfiniteSampler
from mmengine.hooks import Hook
from mmengine.registry import LOOPS
from mmengine.runner import IterBasedTrainLoop, Runner
from torch.utils.data import BatchSampler, DataLoader, Dataset, IterableDataset

from mmwhitebox.engine.seeded_batches import ITERATION, NumberedBatch, number_batches, seed_generators
from tests.configs import ROOT
from tests.test_engine.trainings import BATCH, IMAGES, make_config, same, train

pytestmark = pytest.mark.usefixtures('quick')

EMA = dict(custom_hooks=[dict(type='EMAHook', momentum=0.1)])
UNSEEDED = dict(randomness=dict(seed=None))  # a seed of chance, which the checkpoint must bring back
ACCUMULATE = {'optim_wrapper.accumulative_counts': 3}


@pytest.mark.parametrize('task, by_epoch, workers, options', [
    ('seg', False, (0, 2), {**UNSEEDED, **EMA, **ACCUMULATE}),
    pytest.param('seg', True, (2, 0), {**UNSEEDED, **EMA}, marks=pytest.mark.slow),
    pytest.param('cls', False, (0, 0), {**UNSEEDED, **EMA}, marks=pytest.mark.slow),
    ('cls', True, (0, 2), {**UNSEEDED, **EMA, **ACCUMULATE}),
    ('mae', False, (0, 0), UNSEEDED),
    ('views', False, (0, 0), {**UNSEEDED, **ACCUMULATE, 'model.update_interval': 3}),
], ids=['seg-iterations', 'seg-epochs', 'cls-iterations', 'cls-epochs', 'masks', 'views'])
def test_resumed_in_the_middle_it_ends_as_undisturbed(images, tmp_path, task, by_epoch, workers, options):
    """Iteration 5 is followed by a validation when counted by iterations, and is the first of an epoch otherwise."""
    last = f'iter_{12 if by_epoch else 11}.pth'
    train(images, tmp_path / 'whole', task, by_epoch, workers[0], options=options)
    train(images, tmp_path / 'resumed', task, by_epoch, workers[1], resume=tmp_path / 'whole/iter_5.pth',
          options=options)
    assert same(tmp_path / 'whole' / last, tmp_path / 'resumed' / last)
    assert not same(tmp_path / 'whole/iter_10.pth', tmp_path / 'resumed' / last)


@pytest.mark.slow
def test_the_order_of_a_finite_sampler_goes_on_in_a_later_pass(images, tmp_path):
    """Iteration 10 is the second batch of the third pass."""
    options = {'train_dataloader.sampler.type': 'DefaultSampler', 'train_cfg.val_interval': 99, **UNSEEDED}
    train(images, tmp_path / 'whole', 'cls', options=options)
    resumed = train(images, tmp_path / 'resumed', 'cls', resume=tmp_path / 'whole/iter_10.pth', options=options)
    assert resumed.train_loop.dataloader_iterator.epoch == 2
    assert same(tmp_path / 'whole/iter_11.pth', tmp_path / 'resumed/iter_11.pth')


@pytest.mark.slow
def test_turned_off_a_resumed_training_is_another_one(images, tmp_path):
    """So the comparison above can fail."""
    options = {'default_hooks.exact_resume.enabled': False, 'train_cfg.val_interval': 99, 'randomness': dict(seed=0)}
    train(images, tmp_path / 'whole', 'cls', options=options)
    train(images, tmp_path / 'resumed', 'cls', resume=tmp_path / 'whole/iter_5.pth', options=options)
    assert not same(tmp_path / 'whole/iter_11.pth', tmp_path / 'resumed/iter_11.pth')
    assert 'exact_resume' not in torch.load(tmp_path / 'whole/iter_5.pth', weights_only=False)


@pytest.mark.slow
def test_another_batch_size_goes_on_at_the_same_image_and_says_so(images, tmp_path):
    options = {'train_cfg.max_iters': 5, 'train_cfg.val_interval': 99, 'randomness': dict(seed=0)}
    train(images, tmp_path / 'whole', 'cls', options=options)
    cfg = make_config(images, tmp_path / 'resumed', 'cls', resume=tmp_path / 'whole/iter_5.pth',
                      options={**options, 'train_dataloader.batch_size': 1, 'train_cfg.max_iters': 6})
    runner = Runner.from_cfg(cfg)
    runner.train()
    hook = next(hook for hook in runner.hooks if type(hook).__name__ == 'ExactResumeHook')
    assert hook.place == (0, 5 * BATCH + 1)
    log = next((tmp_path / 'resumed').glob('*/*.log')).read_text()
    assert '1 process(es) with a batch of 3, this training has 1 with 1' in log


def test_two_processes_resume_exactly(images, tmp_path):
    """Gradients of two processes wait for an update at the checkpoint."""
    done = subprocess.run(
        [sys.executable, '-m', 'torch.distributed.run', '--nproc_per_node=2', '--master_port=29631',
         str(ROOT / 'tests/test_engine/two_processes.py'), str(images), str(tmp_path)],
        capture_output=True, text=True, timeout=200, cwd=ROOT,
        env={**os.environ, 'OMP_NUM_THREADS': '1', 'PYTHONPATH': str(ROOT), 'PYTHONWARNINGS': 'ignore'})
    assert done.returncode == 0, done.stderr[-3000:]
    gradients = torch.load(tmp_path / 'whole/iter_5.pth', weights_only=False)['exact_resume']['gradients']
    assert len(gradients) == 2
    assert any(not torch.equal(gradients[0][name], gradients[1][name]) for name in gradients[0])
    assert same(tmp_path / 'whole/iter_8.pth', tmp_path / 'resumed/iter_8.pth')


# The stream of samples


class Draws(Dataset):
    """What a sample draws, and which it is."""

    def __len__(self):
        return IMAGES

    def __getitem__(self, index):
        import random

        import numpy as np
        return index, random.random(), np.random.rand(), torch.rand(()).item()


def stream(workers, start=0, rank=0, world_size=1, batch_size=2, seed=5):
    loader = DataLoader(Draws(), batch_size=batch_size, num_workers=workers, collate_fn=list,
                        sampler=range(rank, IMAGES, world_size))
    number_batches(loader, seed, lambda: 0, rank, world_size).start = start
    return [sample for batch in loader for sample in batch]


def test_samples_are_those_of_their_place_whoever_reads_them():
    whole = stream(0)
    assert len({draw for sample in whole for draw in sample[1:]}) == 3 * IMAGES
    assert stream(2) == whole
    assert stream(0, start=3) == whole[6:]
    assert stream(2, start=3) == whole[6:]
    assert stream(0, batch_size=5) == whole
    assert stream(0, rank=1, world_size=2) == whole[1::2]
    assert stream(0, seed=6) != whole


def test_a_skipped_batch_is_not_read():
    class Refusing(Draws):
        def __getitem__(self, index):
            assert index >= 6
            return index

    loader = DataLoader(Refusing(), batch_size=2, collate_fn=list)
    batches = number_batches(loader, 0, lambda: 0, 0, 1)
    batches.start = 3
    assert list(loader) == [[6, 7], [8, 9]]
    assert len(loader) == 5


def test_the_epoch_changes_what_is_drawn():
    epochs = iter((0, 1, 0))
    loader = DataLoader(Draws(), batch_size=2, collate_fn=list)
    number_batches(loader, 0, lambda: next(epochs), 0, 1)
    first, second, third = list(loader), list(loader), list(loader)
    assert first == third != second


def test_batch_samplers_and_data_sets_of_any_kind():
    """A batch sampler of one's own, indices that are no numbers, a data set that reads whole batches."""
    class Pairs(Draws):
        def __getitems__(self, indices):
            return [Draws.__getitem__(self, index) for index in indices]

    batches = [[('a', 1), ('b', 2)], [('c', 3)]]
    loader = DataLoader(Pairs(), batch_sampler=batches, collate_fn=list)
    number_batches(loader, 0, lambda: 0, 0, 1)
    first = list(loader)
    assert [[sample[0] for sample in batch] for batch in first] == batches
    assert list(loader) == first


def test_what_has_no_place_is_refused():
    class Endless(IterableDataset):
        def __iter__(self):
            yield 0

    for loader in (DataLoader(Endless()), DataLoader(Draws(), batch_size=None)):
        with pytest.raises(TypeError, match='without indices or batches'):
            number_batches(loader, 0, lambda: 0, 0, 1)


def test_samplers_of_mmengine_keep_their_interface():
    for sampler in (DefaultSampler(Draws(), seed=0), InfiniteSampler(Draws(), seed=0)):
        loader = DataLoader(Draws(), batch_sampler=BatchSampler(sampler, 2, drop_last=True), collate_fn=list)
        batches = number_batches(loader, 0, lambda: 0, 0, 1)
        assert batches.sampler is sampler and batches.batch_size == 2
        batches.sampler.set_epoch(3)


def test_a_batch_knows_its_place_in_a_worker():
    batch = pickle.loads(pickle.dumps(NumberedBatch([4, 5], epoch=1, position=6, stride=2)))
    assert batch == [4, 5] and (batch.epoch, batch.position, batch.stride) == (1, 6, 2)


def test_iterations_draw_what_is_theirs():
    draws = []
    for iteration in (3, 4, 3):
        seed_generators(7, ITERATION, iteration, devices=True)
        draws.append(torch.rand(4))
        torch.rand(100)
    assert torch.equal(draws[0], draws[2]) and not torch.equal(draws[0], draws[1])


class Peek(Hook):
    """Looks at a batch before the training, and before every epoch."""

    def before_train(self, runner):
        next(iter(runner.train_loop.dataloader))

    before_train_epoch = before_train


@pytest.mark.parametrize('by_epoch', [pytest.param(False, marks=pytest.mark.slow), True])
def test_a_hook_that_looks_at_a_batch_takes_none(images, tmp_path, by_epoch):
    def run(work_dir, resume=None, **options):
        cfg = make_config(images, work_dir, by_epoch=by_epoch, options=options)
        if resume:
            cfg.load_from, cfg.resume = str(resume), True
        runner = Runner.from_cfg(cfg)
        runner.register_hook(Peek())
        runner.train()

    options = {'default_hooks.checkpoint.interval': 6, 'default_hooks.checkpoint.by_epoch': False,
               'train_dataloader.sampler': dict(type='DefaultSampler', shuffle=True)}  # mmengine's endless one ends
    run(tmp_path / 'whole', **options)
    run(tmp_path / 'resumed', resume=tmp_path / 'whole' / 'iter_6.pth', **options)
    last = f'iter_{11 + by_epoch}.pth'
    assert same(tmp_path / 'whole' / last, tmp_path / 'resumed' / last)


class OwnIterator(IterBasedTrainLoop):
    """Reads its batches in its own way."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.dataloader_iterator = map(self.blacken, self.dataloader_iterator)

    def blacken(self, batch):
        batch['inputs'] = [image * 0 for image in batch['inputs']]
        return batch


class SeeBlack(Hook):
    """Looks at what is trained on."""

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        assert all(not image.any() for image in data_batch['inputs'])


def test_the_batches_of_a_loop_with_its_own_iterator_are_its_own(images, tmp_path):
    LOOPS.register_module(module=OwnIterator, force=True)
    cfg = make_config(images, tmp_path)
    cfg.train_cfg = dict(type='OwnIterator', max_iters=3, val_interval=100)
    runner = Runner.from_cfg(cfg)
    runner.register_hook(SeeBlack())
    runner.train()
    assert 'will not be exact: ' in next(tmp_path.glob('*/*.log')).read_text()
