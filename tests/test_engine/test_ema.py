"""An average of the weights beside the training: right, resumed exactly, and without any effect on the training."""
import pytest
import torch

from tests.test_engine.trainings import same, train

pytestmark = pytest.mark.usefixtures('quick')

SEED = {'randomness': dict(seed=0), 'default_hooks.checkpoint.interval': 1}
EMA = dict(**SEED, custom_hooks=[dict(type='mmwhitebox.BesideEMAHook', momentum=0.1, update_buffers=True)])


def test_the_average_is_kept_beside_and_resumes(images, tmp_path):
    train(images, tmp_path / 'plain', 'cls', False, 0, options=SEED)
    train(images, tmp_path / 'whole', 'cls', False, 0, options=EMA)
    train(images, tmp_path / 'resumed', 'cls', False, 0, resume=tmp_path / 'whole/iter_5.pth', options=EMA)
    plain, whole, resumed = (torch.load(tmp_path / name / 'iter_11.pth', weights_only=False)
                             for name in ('plain', 'whole', 'resumed'))
    for key, value in plain['state_dict'].items():
        assert torch.equal(value, whole['state_dict'][key]), key  # the model is the trained one
        average = whole['ema_state_dict'][f'module.{key}']
        assert torch.equal(average, resumed['ema_state_dict'][f'module.{key}']), key
    assert same(tmp_path / 'whole/iter_11.pth', tmp_path / 'resumed/iter_11.pth')
    key = 'head.fc.weight'
    average = None
    for i in range(1, 12):  # mmengine's average starts as a copy
        value = torch.load(tmp_path / f'whole/iter_{i}.pth', weights_only=False)['state_dict'][key]
        average = value if average is None else 0.9 * average + 0.1 * value
    torch.testing.assert_close(whole['ema_state_dict'][f'module.{key}'], average)
