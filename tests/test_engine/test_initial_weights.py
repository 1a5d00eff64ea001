"""What a training starts from: parts that do not fit start anew and are named once, too little is refused."""
import logging

import pytest
import torch
from mmengine.model import BaseModule
from mmengine.registry import WEIGHT_INITIALIZERS
from mmengine.runner import Runner
from torch import nn

from mmwhitebox.engine.hooks.initial_weights import CheckedPretrainedInit, InitialWeightsHook
from mmwhitebox.errors import CheckpointError
from tests.test_engine.trainings import make_config, train

pytestmark = pytest.mark.usefixtures('quick')


@pytest.fixture
def make(images, tmp_path):
    """A runner whose model starts from a state dict; the level of its log is INFO."""

    def runner(state, bare=False, resume=False, **options):
        path = tmp_path / 'w.pth'
        torch.save(state if bare else dict(state_dict=state, meta={}, message_hub={}), path)
        cfg = make_config(images, tmp_path, resume=path, options={'resume': resume, 'log_level': 'INFO', **options})
        return Runner.from_cfg(cfg)

    return runner


@pytest.fixture
def state(images, tmp_path):
    torch.manual_seed(5)
    return Runner.from_cfg(make_config(images, tmp_path)).model.state_dict()


class Lines(logging.Handler):
    def __init__(self):
        super().__init__()
        self.lines = []

    def emit(self, record):
        self.lines.append(record.getMessage())


def load(runner):
    """Load as a training does; the lines of the log about it."""
    lines = Lines()
    runner.logger.addHandler(lines)
    runner.load_or_resume()
    runner.logger.removeHandler(lines)
    return [line for line in lines.lines if not line.startswith(('Loads checkpoint by', 'Load checkpoint from'))]


@pytest.mark.parametrize('bare', [False, True])
def test_a_head_of_other_classes_starts_anew_and_is_named(make, state, bare):
    runner = make(state, bare, **{'model.decode_head.num_classes': 2})
    anew = runner.model.decode_head.conv_seg.weight.clone()
    line, = load(runner)
    assert 'decode_head.conv_seg.weight ((3, 8, 1, 1) in the file, (2, 8, 1, 1) in the model)' in line
    assert line.endswith('start anew, wholly or in part: decode_head')
    loaded = runner.model.state_dict()
    assert torch.equal(loaded['decode_head.conv_seg.weight'], anew)
    for key, value in state.items():
        if 'conv_seg' not in key:
            assert torch.equal(loaded[key], value), key


def test_such_a_training_runs(images, tmp_path, state):
    torch.save(state, tmp_path / 'w.pth')
    runner = train(images, tmp_path, options={
        'load_from': str(tmp_path / 'w.pth'), 'model.decode_head.num_classes': 5, 'train_cfg.max_iters': 1,
        'custom_hooks': [dict(type='EMAHook')], 'default_hooks.training_checks.enabled': False})
    assert runner.iter == 1


def test_what_fits_exactly_is_one_plain_line(make, state):
    assert [line.split(': ')[1] for line in load(make(state))] == ['100% of the model']


def test_less_than_half_is_refused_unless_said_otherwise(make, state):
    few = {key: value for key, value in state.items() if key.startswith('backbone.layers.0.norm')}
    with pytest.raises(CheckpointError, match='w.pth fits [0-4]% of the model only.*min_fraction=0') as caught:
        load(make(few))
    assert '\n' not in str(caught.value)
    runner = make(few, **{'default_hooks.initial_weights.min_fraction': 0.})
    load(runner)
    key = 'backbone.layers.0.norm1.weight'
    assert torch.equal(runner.model.state_dict()[key], few[key])


def test_a_resumed_checkpoint_has_to_fit(make, state):
    with pytest.raises(CheckpointError, match='not of this model, so nothing can be continued: of another shape'):
        load(make(state, resume=True, **{'model.decode_head.num_classes': 2}))


def test_positions_of_another_crop_are_resized_and_named(make, state):
    runner = make(state, **{'model.backbone.img_size': 32})
    line, = load(runner)
    assert line.endswith('resized: backbone.pos_embed.table ((1, 5, 8) to (1, 17, 8))')
    old, new = state['backbone.pos_embed.table'], runner.model.backbone.pos_embed.table
    grid = old[:, 1:].reshape(1, 2, 2, 8).permute(0, 3, 1, 2)
    expected = nn.functional.interpolate(grid, size=(4, 4), mode='bicubic').permute(0, 2, 3, 1).reshape(1, 16, 8)
    torch.testing.assert_close(new[:, 1:], expected)
    assert torch.equal(new[:, :1], old[:, :1])


class Part(BaseModule):
    def __init__(self, **init_cfg):
        super().__init__(init_cfg)
        self.layer = nn.Linear(4, 3)


def test_pretrained_parts(tmp_path, monkeypatch):
    monkeypatch.setattr(WEIGHT_INITIALIZERS, '_module_dict', dict(WEIGHT_INITIALIZERS.module_dict))
    monkeypatch.setattr('mmwhitebox.engine.hooks.initial_weights.is_training', lambda runner: True)
    InitialWeightsHook().before_run(None)
    assert WEIGHT_INITIALIZERS.get('Pretrained') is CheckedPretrainedInit
    weight = torch.randn(3, 4)
    path = str(tmp_path / 'w.pth')
    torch.save({'backbone.layer.weight': weight, 'backbone.layer.bias': torch.ones(3)}, path)
    args = dict(type='Pretrained', checkpoint=path)
    part = Part(**args, prefix='backbone')
    part.init_weights()
    assert torch.equal(part.layer.weight, weight)
    with pytest.raises(CheckpointError, match='fits 0% of the model only.*begin with backbone: .*prefix='):
        Part(**args).init_weights()
    with pytest.raises(CheckpointError, match="nothing under prefix='encoder'; its keys begin with backbone"):
        Part(**args, prefix='encoder').init_weights()
    Part(**args, min_fraction=0.).init_weights()
