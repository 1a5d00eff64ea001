"""Train loops that hooks extend: of mmengine, of the user's own, of any kind."""
from contextlib import contextmanager

import pytest
from mmengine.hooks import Hook
from mmengine.registry import LOOPS
from mmengine.runner import BaseLoop, EpochBasedTrainLoop, IterBasedTrainLoop

from mmwhitebox.engine.loops import ContextLoop, own_loop, run_within
from tests.test_engine.small import make_runner
from tests.test_engine.trainings import same, train

pytestmark = pytest.mark.usefixtures('quick')
SEEDED = dict(randomness=dict(seed=0))


@LOOPS.register_module()
class CountingLoop(EpochBasedTrainLoop):
    """A user's own, with an argument and an override."""

    def __init__(self, *args, unit='batches', **kwargs):
        super().__init__(*args, **kwargs)
        self.unit = unit
        self.numbers = []

    def run_iter(self, idx, data_batch):
        self.numbers.append(idx)
        super().run_iter(idx, data_batch)


@LOOPS.register_module()
class OwnEpochsLoop(EpochBasedTrainLoop):
    """One whose epochs are its own affair."""

    def run_epoch(self):
        self.own = True
        super().run_epoch()


def numbers(loop):
    return dict(custom_hooks=[dict(type=Numbers)], **{
        'train_cfg': dict(_delete_=True, type=loop, max_epochs=3, val_interval=1), **SEEDED})


class Numbers(Hook):
    """Notes the numbers of batches that hooks are told."""
    told: list = []

    def before_train(self, runner):
        self.told.clear()

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        self.told.append(batch_idx)


@pytest.mark.parametrize('loop', [
    'EpochBasedTrainLoop', pytest.param('CountingLoop', marks=pytest.mark.slow),
    pytest.param('OwnEpochsLoop', marks=pytest.mark.slow)])
def test_an_epoch_goes_on_at_the_number_of_its_batch(images, tmp_path, loop):
    """Iteration 5 is the first of the second epoch of four."""
    train(images, tmp_path / 'whole', by_epoch=True, options=numbers(loop))
    assert Numbers.told == [0, 1, 2, 3] * 3
    runner = train(images, tmp_path / 'resumed', by_epoch=True, resume=tmp_path / 'whole/iter_5.pth',
                   options=numbers(loop))
    assert Numbers.told == [1, 2, 3, 0, 1, 2, 3]
    assert same(tmp_path / 'whole/iter_12.pth', tmp_path / 'resumed/iter_12.pth')
    assert isinstance(runner.train_loop, LOOPS.get(loop)) and type(runner.train_loop).__name__ == loop
    if loop == 'CountingLoop':
        assert runner.train_loop.numbers == Numbers.told and runner.train_loop.unit == 'batches'
    if loop == 'OwnEpochsLoop':
        assert runner.train_loop.own


def test_contexts_are_around_the_run_in_order_however_it_ends(tmp_path):
    runner, events = make_runner(tmp_path), []

    @contextmanager
    def noted(name):
        events.append(f'enter {name}')
        try:
            yield
        finally:
            events.append(f'leave {name}')

    class Once(BaseLoop):
        def run(self):
            events.append('run')
            raise ValueError('in the loop')

    runner._train_loop = Once(runner, runner._train_dataloader)
    for name in ('first', 'second'):
        run_within(runner, lambda name=name: noted(name))
    loop = own_loop(runner)
    assert isinstance(loop, Once) and isinstance(loop, ContextLoop) and runner.train_loop is loop
    for _ in range(2):  # a second run has no contexts: hooks would add them again
        with pytest.raises(ValueError, match='in the loop'):
            loop.run()
    assert events == ['enter first', 'enter second', 'run', 'leave second', 'leave first', 'run']


def test_a_loop_keeps_what_it_is(tmp_path):
    runner = make_runner(tmp_path)
    before = runner.build_train_loop(runner._train_loop)
    runner._train_loop = before
    after = own_loop(runner)
    assert isinstance(after, IterBasedTrainLoop) and own_loop(runner) is after
    assert {**vars(before), 'contexts': [], 'first_batch': 0} == vars(after)
