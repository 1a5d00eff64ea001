"""The learning rate of every iteration of a resumed training, against the formulas of the schedules."""
import logging
import math

import pytest
import torch
from mmengine.hooks import Hook
from mmengine.optim import OptimWrapper
from mmengine.registry import PARAM_SCHEDULERS, DefaultScope
from torch import nn

from mmwhitebox.checkpoints import verify_checkpoint
from mmwhitebox.engine.hooks.exact_resume import ExactResumeHook
from mmwhitebox.engine.hooks.schedule import ScheduleHook
from mmwhitebox.engine.rehearsal import fast_forward
from mmwhitebox.errors import UserError
from tests.test_engine import small

pytestmark = pytest.mark.usefixtures('quick')
LR = 0.05


class Record(Hook):
    """The options of the first parameter group in every iteration."""

    def __init__(self):
        self.options = []

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        group = runner.optim_wrapper.param_groups[0]
        self.options.append({key: value for key, value in group.items() if key != 'params'})


def train(work_dir, schedulers, max_iters=8, resume=None, lr=LR, by_epoch=False, optimizer=None, on_resume='auto',
          batch=2, val=False, **options):
    """Train, and return what the optimizer had in every iteration, and the lines that ScheduleHook logged."""
    runner = small.make_runner(work_dir, resume, max_iters=max_iters, by_epoch=by_epoch, val=val)
    runner.param_schedulers = schedulers
    runner.optim_wrapper = dict(optimizer=optimizer or dict(type='SGD', lr=lr, momentum=0.9, weight_decay=0.1))
    runner._train_dataloader['batch_size'] = batch
    record, lines = Record(), []
    runner.register_hook(record)
    runner.register_hook(ExactResumeHook())
    runner.register_hook(ScheduleHook(on_resume, **options))
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda entry: lines.append(entry.getMessage())
    runner.logger.addHandler(handler)
    runner.train()
    return record.options, [line for line in lines if line.startswith('--resume')]


def rates(result):
    return [options['lr'] for options in result[0]]


def poly(n, end, lr=LR, power=0.9):
    """mmengine's PolyLR reaches 0 in the last of ``end`` steps."""
    return lr * (1 - min(n, end - 1) / (end - 1)) ** power


def cosine(n, length, lr=LR, low=0.):
    return low + (lr - low) * (1 + math.cos(math.pi * n / length)) / 2


POLY = dict(type='PolyLR', power=0.9, by_epoch=False)
COSINE = dict(type='CosineAnnealingLR', T_max=8, by_epoch=False)


def test_a_longer_training_follows_the_longer_schedule(tmp_path):
    """Warm-up and decay, stopped at 4 of 8 and longer from there: as if it had been made with 12 from the start."""
    def schedule(end):
        return [dict(type='LinearLR', start_factor=0.1, begin=0, end=3, by_epoch=False), {**POLY, 'end': end}]

    def formula(n, end):  # the chained form: the warm-up's two steps scale what the decay leaves
        return poly(n, end) * min(1., 0.1 + 0.9 * n / 2)

    whole = train(tmp_path / 'a', schedule(8))
    assert rates(whole) == pytest.approx([formula(n, 8) for n in range(8)]) and whole[1] == []
    longer = train(tmp_path / 'b', schedule(12), 12, resume=tmp_path / 'a/iter_4.pth')
    assert rates(longer) == pytest.approx([formula(n, 12) for n in range(4, 12)])
    assert len(longer[1]) == 1 and 'of the config, as after 4 iterations' in longer[1][0]
    assert 'train_cfg.max_iters 8 -> 12' in longer[1][0] and 'param_scheduler.1.end 8 -> 12' in longer[1][0]
    kept = train(tmp_path / 'c', schedule(12), 12, resume=tmp_path / 'a/iter_4.pth', on_resume='checkpoint',
                 allow_zero_lr=True)
    assert rates(kept) == pytest.approx([formula(n, 8) for n in range(4, 12)])
    assert 'of the checkpoint; ignored' in kept[1][0] and 'param_scheduler.1.end=12 (checkpoint: 8)' in kept[1][0]


def test_the_finished_training_goes_on_with_a_longer_cosine(tmp_path):
    train(tmp_path, COSINE)
    longer = train(tmp_path, {**COSINE, 'T_max': 20}, 20, resume=tmp_path / 'iter_8.pth')
    assert rates(longer) == pytest.approx([cosine(n, 20) for n in range(8, 20)])


def test_values_that_are_ignored_are_named(tmp_path):
    """Of the same length, the checkpoint is followed; asked for, the config is."""
    train(tmp_path / 'a', COSINE)
    changed = dict(type='SGD', lr=2 * LR, momentum=0.8, weight_decay=0.1)
    same = train(tmp_path / 'b', COSINE, resume=tmp_path / 'a/iter_4.pth', optimizer=changed)
    assert rates(same) == pytest.approx([cosine(n, 8) for n in range(4, 8)])
    assert len(same[1]) == 1
    assert 'optim_wrapper.optimizer.lr=0.1 (checkpoint: 0.05)' in same[1][0]
    assert 'optim_wrapper.optimizer.momentum=0.8 (checkpoint: 0.9)' in same[1][0] and 'weight_decay' not in same[1][0]
    followed = train(tmp_path / 'c', COSINE, resume=tmp_path / 'a/iter_4.pth', optimizer=changed, on_resume='config')
    assert rates(followed) == pytest.approx([cosine(n, 8, 2 * LR) for n in range(4, 8)])
    assert {options['momentum'] for options in followed[0]} == {0.8}
    milestones = dict(type='MultiStepLR', milestones=[2, 6], by_epoch=False)
    train(tmp_path / 'd', milestones)
    same = train(tmp_path / 'd', {**milestones, 'milestones': [2, 5]}, resume=tmp_path / 'd/iter_4.pth')
    assert 'param_scheduler.0.milestones=[2, 5] (checkpoint: [2, 6])' in same[1][0]
    assert rates(same) == pytest.approx([LR / 10, LR / 10, LR / 100, LR / 100])


def test_without_schedulers_and_with_others(tmp_path):
    train(tmp_path / 'a', None)
    same = train(tmp_path / 'b', None, resume=tmp_path / 'a/iter_4.pth', lr=1.)
    assert rates(same) == [LR] * 4 and 'optimizer.lr=1.0 (checkpoint: 0.05)' in same[1][0]
    other = train(tmp_path / 'c', [COSINE], resume=tmp_path / 'a/iter_4.pth')
    assert rates(other) == pytest.approx([cosine(n, 8) for n in range(4, 8)]) and 'it has none' in other[1][0]
    other = train(tmp_path / 'd', [POLY], resume=tmp_path / 'c/iter_6.pth')
    assert rates(other) == pytest.approx([poly(n, 8) for n in range(6, 8)]) and 'of other types' in other[1][0]
    again = train(tmp_path / 'e', [{**POLY, 'end': 8}], resume=tmp_path / 'd/iter_8.pth', max_iters=8)
    assert again == ([], [])  # nothing of the other types is left in its checkpoint
    with pytest.raises(UserError, match='cannot be followed: its schedulers are of other types'):
        train(tmp_path / 'f', [POLY], resume=tmp_path / 'c/iter_6.pth', on_resume='checkpoint')


def test_another_optimizer_is_refused(tmp_path):
    train(tmp_path, COSINE)
    with pytest.raises(UserError, match='of another kind: .*momentum.*load_from'):
        train(tmp_path / 'b', COSINE, resume=tmp_path / 'iter_4.pth', optimizer=dict(type='AdamW', lr=LR))


@pytest.mark.parametrize('schedulers, first', [
    ([{**POLY, 'end': 4}], 3),
    ([dict(type='LinearLR', start_factor=1., end_factor=0., end=6, by_epoch=False)], 5),
    ([dict(type='CosineAnnealingLR', T_max=7, end=8, by_epoch=False)], 7),
], ids=['poly', 'linear', 'cosine'])
def test_a_rate_of_zero_for_the_rest_is_refused(tmp_path, schedulers, first):
    with pytest.raises(UserError, match=f'is 0 after iteration {first}, .*goes on to 40.*max_iters={first}'):
        train(tmp_path, schedulers, 40)
    assert not list(tmp_path.glob('*.pth'))


@pytest.mark.parametrize('schedulers', [
    [{**POLY, 'end': 40}],
    [{**POLY, 'end': 4, 'eta_min': 1e-5}],
    [dict(type='LinearLR', start_factor=0.1, end=3, by_epoch=False)],
    [dict(type='CosineAnnealingLR', T_max=10, by_epoch=False)],  # rises again
    None,
], ids=['whole', 'floor', 'warm-up', 'waves', 'none'])
def test_schedules_that_end_early_with_a_rate_are_trained(tmp_path, schedulers):
    assert len(train(tmp_path, schedulers, 40)[0]) == 40


def test_a_longer_training_with_the_old_end_is_refused(tmp_path):
    schedule = [{**POLY, 'end': 8}]
    train(tmp_path, schedule)
    for on_resume in ('auto', 'config', 'checkpoint'):
        with pytest.raises(UserError, match='is 0 after iteration 8, and the training goes on to 40'):
            train(tmp_path, schedule, 40, resume=tmp_path / 'iter_8.pth', on_resume=on_resume)
    assert rates(train(tmp_path, schedule, 12, resume=tmp_path / 'iter_8.pth', allow_zero_lr=True)) == [0.] * 4


def test_a_scheduler_that_waits_for_epochs_where_there_are_none_is_refused(tmp_path):
    with pytest.raises(UserError, match=r'param_scheduler.0 \(PolyLR\) counts epochs.*by_epoch=False'):
        train(tmp_path, [dict(type='PolyLR', end=8)])


def test_epochs_with_another_batch_size(tmp_path):
    """Two of four epochs of four iterations, then epochs of two."""
    schedule = dict(type='CosineAnnealingLR', T_max=4, by_epoch=True, convert_to_iter_based=True)
    train(tmp_path / 'a', schedule, 16, by_epoch=True)
    other = train(tmp_path / 'b', schedule, 16, by_epoch=True, batch=4, resume=tmp_path / 'a/epoch_2.pth')
    assert rates(other) == pytest.approx([cosine(n, 8) for n in range(4, 8)])
    longer = train(tmp_path / 'c', {**schedule, 'T_max': 5, 'convert_to_iter_based': False}, 20, by_epoch=True,
                   resume=tmp_path / 'a/epoch_2.pth')
    assert rates(longer) == pytest.approx([cosine(2 + n // 4, 5) for n in range(12)])


# Whatever a scheduler is

KINDS = {
    'ConstantLR': dict(factor=0.5, end=5), 'CosineAnnealingLR': dict(T_max=9), 'ExponentialLR': dict(gamma=0.9),
    'LinearLR': dict(start_factor=0.1, end=6), 'MultiStepLR': dict(milestones=[2, 6]), 'StepLR': dict(step_size=3),
    'OneCycleLR': dict(eta_max=0.1, total_steps=8), 'PolyLR': dict(eta_min=0.001),
    'CosineRestartLR': dict(periods=[3, 5], restart_weights=[1, 0.5], eta_min=0.), 'mmseg.PolyLRRatio':
    dict(eta_min_ratio=0.1), 'CosineAnnealingMomentum': dict(T_max=9, eta_min=0.5), 'LinearMomentum':
    dict(start_factor=0.5, end=6), 'PolyMomentum': dict(eta_min=0.1), 'StepMomentum': dict(step_size=3, gamma=0.9),
    'mmpretrain.CosineAnnealingWeightDecay': dict(T_max=9, eta_min=0.5),
}


@pytest.mark.parametrize('kind', KINDS)
def test_resumed_a_scheduler_goes_on_exactly_by_either_way(tmp_path, kind):
    schedule = dict(type=kind, by_epoch=False, **KINDS[kind])
    whole = train(tmp_path, schedule)
    assert len({repr(options) for options in whole[0]}) > 1
    verify_checkpoint(tmp_path / 'iter_4.pth')
    exact = train(tmp_path / 'checkpoint', schedule, resume=tmp_path / 'iter_4.pth', on_resume='checkpoint')
    assert exact == (whole[0][4:], [])
    nesterov = dict(type='SGD', lr=LR, momentum=0.9, weight_decay=0.1, nesterov=True)  # so that the config matters
    forwarded = train(tmp_path / 'config', schedule, resume=tmp_path / 'iter_4.pth', on_resume='config',
                      optimizer=nesterov)
    assert forwarded[0] == [{**options, 'nesterov': True} for options in whole[0][4:]] and len(forwarded[1]) == 1


def test_many_groups_are_brought_to_where_stepping_brings_them():
    """Every group of its own: a layer-wise decay, a group without weight decay, one that is frozen."""
    def build():
        model = nn.ModuleList(nn.Linear(1, 1) for _ in range(4))
        groups = [dict(params=list(layer.parameters()), lr=lr, weight_decay=decay) for layer, lr, decay in
                  zip(model, (0.1, 0.05, 0.1, 0.), (0.1, 0., 0.1, 0.1))]
        wrapper = OptimWrapper(torch.optim.SGD(groups, lr=0.1, momentum=0.9))
        with DefaultScope.overwrite_default_scope('mmengine'):
            schedulers = [PARAM_SCHEDULERS.build(dict(cfg, optimizer=wrapper)) for cfg in (
                dict(type='CosineAnnealingLR', T_max=6, eta_min=0.01, by_epoch=True),  # stepped after the others
                dict(type='LinearLR', start_factor=0.1, end=9, by_epoch=False))]
        return wrapper, schedulers

    wrapper, schedulers = build()
    for iteration in range(17):
        wrapper.optimizer.step()
        schedulers[1].step()
        if iteration % 5 == 4:
            schedulers[0].step()
    other, forwarded = build()
    fast_forward(forwarded, other.param_groups, 17, 5)
    for ours, theirs in zip(other.param_groups, wrapper.param_groups):
        assert {**ours, 'params': 0} == {**theirs, 'params': 0}
    for ours, theirs in zip(forwarded, schedulers):
        assert {**vars(ours), 'optimizer': 0} == {**vars(theirs), 'optimizer': 0}


def test_reductions_after_a_plateau_are_kept(tmp_path, monkeypatch):
    """Four validations without a gain reduce twice; then the training is made longer, and its rate ten times lower."""
    monkeypatch.setattr(small, 'SCORES', dict.fromkeys(range(100), 1.))
    plateau = dict(type='ReduceOnPlateauLR', monitor='mIoU', rule='greater', factor=0.5, patience=1)
    whole = train(tmp_path / 'a', plateau, 24, by_epoch=True, val=True)
    assert rates(whole)[::4] == [LR, LR, LR, LR / 2, LR / 2, LR / 4]
    resumed = train(tmp_path / 'b', plateau, 24, by_epoch=True, val=True, resume=tmp_path / 'a/epoch_2.pth')
    assert rates(resumed)[::4] == rates(whole)[8::4] and resumed[1] == []
    longer = train(tmp_path / 'c', plateau, 32, by_epoch=True, val=True, lr=LR / 10, resume=tmp_path / 'a/epoch_4.pth')
    assert rates(longer)[::4] == pytest.approx([LR / 20, LR / 40, LR / 40, LR / 80])
