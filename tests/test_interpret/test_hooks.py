"""The hooks in a Runner: numbers and pictures at the right iterations, and nothing attached between."""
import json
from pathlib import Path

import pytest
import torch
from mmengine.hooks import Hook
from mmengine.registry import init_default_scope
from mmengine.runner import Runner
from mmpretrain.structures import DataSample

from mmwhitebox.engine.hooks import CodingRateHook, MembershipVisHook, ReconstructionVisHook
from mmwhitebox.errors import UserError
from tests.configs import reduced


class CountForwardHooks(Hook):
    """How many forward hooks the model has, and how often it runs, in each iteration."""

    priority = 'LOWEST'

    def __init__(self):
        self.during, self.after, self.forwards = [], [], 0

    def before_train(self, runner):
        backbone_forward = runner.model.backbone.forward

        def forward(*args, **kwargs):
            self.forwards += 1
            self.during.append(count(runner.model))
            return backbone_forward(*args, **kwargs)

        runner.model.backbone.forward = forward

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        self.after.append(count(runner.model))


def count(model):
    return sum(len(module._forward_hooks) for module in model.modules())


def batches():
    samples = [dict(inputs=torch.randint(0, 256, (3, 64, 64), dtype=torch.uint8),
                    data_samples=DataSample().set_gt_label(i % 3)) for i in range(15)]  # mmengine sleeps after an epoch
    return torch.utils.data.DataLoader(samples, batch_size=3, collate_fn=lambda items: {
        key: [item[key] for item in items] for key in items[0]})


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """A Runner without its report on the machine, which takes seconds."""
    monkeypatch.setattr('mmengine.runner.runner.collect_env', dict)


def train(folder, name, *hooks, iterations=5):
    init_default_scope('mmpretrain')
    cfg = reduced(name)
    counter = CountForwardHooks()
    runner = Runner(
        model=cfg.model, work_dir=str(folder), train_dataloader=batches(), experiment_name=f'{folder.name}_{name}',
        train_cfg=dict(by_epoch=False, max_iters=iterations), default_scope='mmpretrain',
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=1e-3)),
        visualizer=dict(type='Visualizer', vis_backends=[dict(type='LocalVisBackend')], name=str(folder)),
        default_hooks=dict(logger=None, checkpoint=None), custom_hooks=[*hooks, counter])
    runner.train()
    return runner, counter


def scalars(runner):
    lines = next(Path(runner.work_dir).rglob('scalars.json'))
    return [json.loads(line) for line in lines.read_text().splitlines()]


@pytest.mark.slow
def test_coding_rates_every_second_iteration(tmp_path):
    runner, counter = train(tmp_path, 'cbt/cbt_mini_imagenet.py', dict(type='mmwhitebox.CodingRateHook', interval=2))
    rows = [row for row in scalars(runner) if 'compression/backbone.layers.0.attn' in row]
    assert [row['step'] for row in rows] == [2, 4]
    for name in CodingRateHook.scalars:
        assert rows[0][f'{name}/backbone.layers.0.attn'] >= 0
    assert 0 < rows[0]['sparsity/backbone.layers.0.attn'] < 1
    assert counter.forwards == 5, 'there is no second forward pass'
    assert [during > 0 for during in counter.during] == [False, True, False, True, False]
    assert counter.after == [0] * 5, 'nothing stays attached'


def test_membership_pictures(tmp_path):
    hook = MembershipVisHook(interval=3, num_images=2)
    _, counter = train(tmp_path, 'dmst/dmst_mini_imagenet.py', hook, iterations=4)
    pictures = sorted(path.name for path in tmp_path.rglob('*.png'))
    assert pictures == ['membership_0_3.png', 'membership_1_3.png']
    assert counter.during[2] > 0 and counter.after == [0] * 4 and counter.forwards == 4


def test_pictures_of_reconstructions(tmp_path):
    hook = ReconstructionVisHook(interval=3, num_images=2)
    _, counter = train(tmp_path, 'crate_mae/crate_mae_mini_imagenet.py', hook, iterations=4)
    assert [path.name for path in tmp_path.rglob('*.png')] == ['reconstruction_3.png']
    assert counter.during[2] > 0 and counter.after == [0] * 4 and counter.forwards == 4


def test_hooks_are_removed_when_an_iteration_fails(tmp_path):
    hook = CodingRateHook(interval=1)

    class Fail(Hook):

        def before_train_iter(self, runner, batch_idx, data_batch=None):
            runner.model.backbone.stem.forward = None

    with pytest.raises(TypeError):
        train(tmp_path, 'cbt/cbt_mini_imagenet.py', hook, Fail(), iterations=1)
    assert hook._calls == {}


@pytest.mark.parametrize('hook, name, message', [
    (MembershipVisHook(), 'cbt/cbt_mini_imagenet.py', 'MembershipVisHook: this model has no membership'),
    (ReconstructionVisHook(), 'cbt/cbt_mini_imagenet.py', 'ReconstructionVisHook: this model is no masked autoencoder'),
    (MembershipVisHook(layers=[7]), 'dmst/dmst_mini_imagenet.py', 'has 1 such layers'),
])
def test_a_model_without_the_notion(tmp_path, hook, name, message):
    with pytest.raises(UserError, match=message):
        train(tmp_path, name, hook)


def test_other_processes_do_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr('mmwhitebox.engine.hooks.interpret.is_main_process', lambda: False)
    _, counter = train(tmp_path, 'cbt/cbt_mini_imagenet.py', CodingRateHook(interval=1), iterations=1)
    assert counter.during == [0]
