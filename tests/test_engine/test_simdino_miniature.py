"""The miniature of SimDINO, as users train it, on fewer pictures."""
import subprocess
import sys

import numpy as np
import pytest
from mmengine.config import Config
from mmengine.runner import Runner

from tests.configs import ROOT

pytestmark = pytest.mark.usefixtures('quick')


@pytest.mark.slow
def test_the_loss_of_the_miniature_falls_and_its_features_are_scored(tmp_path, monkeypatch):
    subprocess.run([sys.executable, str(ROOT / 'tools/make_mini_imagenet.py'), '--out', str(tmp_path / 'data'),
                    '--train', '240', '--val', '60', '--size', '64'], check=True, capture_output=True)
    monkeypatch.setenv('MINI_IMAGENET_ROOT', str(tmp_path / 'data'))
    cfg = Config.fromfile(ROOT / 'configs/simdino/simdino_mini_imagenet.py')
    loader = {'num_workers': 0, 'persistent_workers': False}
    cfg.merge_from_dict(dict(
        work_dir=str(tmp_path / 'work'), randomness=dict(seed=0), train_cfg=dict(max_epochs=8, val_interval=8),
        train_dataloader=dict(loader, batch_size=48), val_dataloader=loader, log_level='WARNING'))
    for scheduler in cfg.param_scheduler[1:]:
        scheduler.end = 8
    runner = Runner.from_cfg(cfg)
    runner.train()
    losses = runner.message_hub.get_scalar('train/loss').data[0]
    assert len(losses) == 40 and np.isfinite(losses).all()
    assert np.mean(losses[-5:]) < np.mean(losses[:5]) - 0.1
    assert {'knn/top1', 'linear/top1'} <= {key.removeprefix('val/') for key in runner.message_hub.log_scalars}
