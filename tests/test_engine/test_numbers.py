"""NaN and infinity never reach the parameters; deterministic runs are equal."""
import logging

import pytest
import torch
from mmengine.hooks import Hook
from mmengine.logging import MessageHub
from mmengine.runner import Runner
from torch import nn

from mmwhitebox.engine.hooks.finite import COUNT, FiniteHook, NonFiniteError, name_gradients, name_losses
from mmwhitebox.errors import UserError
from tests.test_engine.trainings import everything, make_config, same, train

pytestmark = pytest.mark.usefixtures('quick')

FAST = {'train_cfg.val_interval': 99, 'train_cfg.max_iters': 6, 'randomness': dict(seed=0)}


class Spoil(Hook):
    """Makes the loss, or the gradients, of some iterations not finite, and notes the parameters after each."""

    priority = 'HIGHEST'

    def __init__(self, iterations, value=float('nan'), gradients=False):
        self.iterations, self.value, self.gradients = iterations, value, gradients
        self.seen = []

    def before_train(self, runner):
        parameter = next(p for p in runner.model.parameters() if p.requires_grad)
        parameter.register_hook(lambda grad: torch.full_like(grad, self.value) if self.bad and self.gradients else grad)
        head = runner.model.decode_head
        loss = head.loss_by_feat
        head.loss_by_feat = lambda *args: self.spoil(loss(*args))

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        self.bad = runner.iter + 1 in self.iterations

    def spoil(self, losses):
        if self.bad and not self.gradients:
            losses['loss_ce'] = losses['loss_ce'] * self.value
        return losses

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        self.seen.append({name: value.clone() for name, value in runner.model.state_dict().items()})


def spoiled(images, work_dir, spoil, resume=None, **options):
    runner = Runner.from_cfg(make_config(images, work_dir, resume=resume, options={**FAST, **options}))
    runner.register_hook(spoil)
    runner.train()
    return runner


def equal(first, second):
    return all(torch.equal(first[name], second[name]) for name in first)


@pytest.fixture(scope='module')
def whole(quick, images, tmp_path_factory):
    """The last checkpoint of an undisturbed training."""
    folder = tmp_path_factory.mktemp('whole')
    train(images, folder, options=FAST)
    return folder / 'iter_6.pth'


@pytest.mark.parametrize('gradients, words', [(False, 'decode.loss_ce is nan'), (True, 'the gradient of backbone')])
def test_it_stops_with_the_iteration_the_loss_and_the_last_good_state(images, tmp_path, whole, gradients, words):
    spoil = Spoil([4], gradients=gradients)
    with pytest.raises(NonFiniteError, match=f'(?s)Iteration 4: {words}.*iter_3.pth') as caught:
        spoiled(images, tmp_path / 'bad', spoil)
    assert isinstance(caught.value, UserError) and len(spoil.seen) == 3
    saved = torch.load(tmp_path / 'bad/iter_3.pth', weights_only=False)
    assert saved['meta']['iter'] == 3 and equal(saved['state_dict'], spoil.seen[-1])
    assert (tmp_path / 'bad/last_checkpoint').read_text().endswith('iter_3.pth')
    train(images, tmp_path / 'healed', resume=tmp_path / 'bad/iter_3.pth', options=FAST)
    assert same(whole, tmp_path / 'healed/iter_6.pth')


@pytest.mark.slow
def test_a_loss_that_is_not_finite_while_gradients_accumulate_spoils_none_of_them(images, tmp_path):
    """The state before the iteration holds the gradients that were waiting."""
    options = {**FAST, 'optim_wrapper.accumulative_counts': 3}
    with pytest.raises(NonFiniteError, match='Iteration 5'):
        spoiled(images, tmp_path / 'bad', Spoil([5]), **options)
    train(images, tmp_path / 'whole', options=options)
    train(images, tmp_path / 'healed', resume=tmp_path / 'bad/iter_4.pth', options=options)
    assert same(tmp_path / 'whole/iter_6.pth', tmp_path / 'healed/iter_6.pth')


@pytest.mark.parametrize('gradients', [False, True])
def test_it_skips_when_told_to(images, tmp_path, gradients):
    spoil = Spoil([2, 3], value=float('inf'), gradients=gradients)
    runner = spoiled(images, tmp_path, spoil, **{
        'default_hooks.finite.on_nonfinite': 'skip', 'default_hooks.finite.max_consecutive': 2})
    assert equal(spoil.seen[0], spoil.seen[1]) and equal(spoil.seen[1], spoil.seen[2])
    assert not equal(spoil.seen[2], spoil.seen[3])
    assert all(value.isfinite().all() for value in everything(tmp_path / 'iter_6.pth').values())
    losses, _ = runner.message_hub.get_scalar('train/loss').data
    assert torch.as_tensor(losses).isfinite().all() and len(losses) == (6 if gradients else 4)
    log = next(tmp_path.glob('*/*.log')).read_text()
    assert 'Iteration 2: ' in log and 'Iteration 3: ' in log and '2 in a row, at most 2' in log


@pytest.mark.slow
def test_it_skips_at_most_so_many_in_a_row_also_across_a_resume(images, tmp_path):
    options = {'default_hooks.finite.on_nonfinite': 'skip', 'default_hooks.finite.max_consecutive': 2,
               'default_hooks.checkpoint.interval': 1}
    with pytest.raises(NonFiniteError, match='Iteration 5: .* The 2 iterations before it were skipped'):
        spoiled(images, tmp_path / 'bad', Spoil([1, 3, 4, 5]), **options)
    with pytest.raises(NonFiniteError, match='Iteration 5: .* The 2 iterations before it were skipped'):
        spoiled(images, tmp_path / 'again', Spoil([4, 5]), resume=tmp_path / 'bad/iter_3.pth', **options)


@pytest.mark.slow
def test_a_batch_that_is_left_out_of_an_accumulation(images, tmp_path):
    """Updates after iterations 3 and 6; the last batch before an update takes the update with it."""
    options = {'default_hooks.finite.on_nonfinite': 'skip', 'optim_wrapper.accumulative_counts': 3}
    first, last = Spoil([2]), Spoil([3])
    spoiled(images, tmp_path / 'first', first, **options)
    spoiled(images, tmp_path / 'last', last, **options)
    weights = [[{k: v for k, v in seen.items() if 'running' not in k and 'tracked' not in k} for seen in spoil.seen]
               for spoil in (first, last)]
    assert not equal(weights[0][1], weights[0][2])
    assert equal(weights[1][1], weights[1][4]) and not equal(weights[1][4], weights[1][5])


def test_ignored(images, tmp_path):
    spoil = Spoil([2])
    spoiled(images, tmp_path, spoil, **{'default_hooks.finite.on_nonfinite': 'ignore', 'train_cfg.max_iters': 2})
    assert any(value.isnan().any() for value in spoil.seen[-1].values())


def test_the_gradients_of_a_scaler_are_its_own(monkeypatch):
    """Infinite scaled gradients are how a gradient scaler finds its scale; the loss is looked at all the same."""
    class Scaled:
        loss_scaler = object()
        steps = 0

        def update_params(self, loss):
            self.step()

        def step(self):
            Scaled.steps += 1

        def should_update(self):
            return False
        _inner_count = 0

    hook, wrapper = FiniteHook(on_nonfinite='skip'), Scaled()
    runner = type('R', (), dict(iter=0, logger=logging.getLogger('x'), message_hub=MessageHub.get_instance('scaled')))
    hook.guard(runner, wrapper)
    wrapper.update_params(torch.tensor(1.))
    wrapper.update_params(torch.tensor(float('inf')))
    assert wrapper.steps == 1 and runner.message_hub.get_info(COUNT, 0) == 0


def test_names():
    terms = dict(loss_a=torch.tensor(1.), loss_b=torch.tensor(float('nan')))
    assert name_losses(terms, torch.tensor(float('nan'))) == ['loss_b is nan']
    assert name_losses(dict(loss_a=torch.tensor(3e38)), torch.tensor(float('inf'))) == ['loss is inf']
    model = nn.Sequential(*(nn.Linear(1, 1) for _ in range(3)))
    for parameter in model.parameters():
        parameter.grad = torch.full_like(parameter, float('nan'))
    assert name_gradients(model) == ['the gradient of 0.weight, 0.bias, 1.weight, ... (6 in all) is not finite']
    with pytest.raises(UserError, match="'stop', 'skip' or 'ignore', not 'warn'"):
        FiniteHook(on_nonfinite='warn')


def test_deterministic_runs_are_equal(images, tmp_path, whole):
    options = {**FAST, 'randomness': dict(seed=4, deterministic=True)}
    before = torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark
    try:
        for name in ('first', 'second'):
            torch.rand(3)
            train(images, tmp_path / name, options=options)
            assert torch.are_deterministic_algorithms_enabled()
    finally:
        torch.use_deterministic_algorithms(False)
        torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = before
    assert same(tmp_path / 'first/iter_6.pth', tmp_path / 'second/iter_6.pth')
    assert not same(tmp_path / 'first/iter_6.pth', whole)  # of another seed
