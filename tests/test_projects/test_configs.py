"""The configs of the small trainings: they pass the check, build, and learn one step as they are."""
import pytest
import torch
from mmengine.config import Config
from mmengine.dataset import Compose
from mmengine.optim import build_optim_wrapper
from mmengine.registry import MODELS, init_default_scope
from mmpretrain.structures import DataSample

from mmwhitebox.config.check import check_config
from projects.small_data.suites import FOLDER, ROOT, SUITES
from tests.test_configs import seg_sample

CONFIGS = sorted(path.relative_to(FOLDER).as_posix() for path in FOLDER.glob('configs/*/*.py')
                 if '_base_' not in path.parts)


def test_every_config_is_a_row():
    assert CONFIGS == sorted(
        (ROOT / suite.config(row)).relative_to(FOLDER).as_posix() for suite in SUITES.values() for row in suite.rows())


@pytest.mark.parametrize('name', CONFIGS)
def test_a_config_learns(name):
    cfg = Config.fromfile(FOLDER / name)
    check_config(cfg)
    init_default_scope(cfg.default_scope)
    for loader in (cfg.train_dataloader, cfg.test_dataloader):
        Compose(loader.dataset.pipeline)
    model = MODELS.build(cfg.model)
    model.init_weights()
    size = cfg.model.backbone.img_size
    images = torch.randint(0, 256, (2, 3, size, size), dtype=torch.uint8)
    samples = [seg_sample(size, size, 11) if 'decode_head' in cfg.model else DataSample().set_gt_label(1)
               for _ in images]
    wrapper = build_optim_wrapper(model, cfg.optim_wrapper)
    log = model.train_step(dict(inputs=list(images) if 'decode_head' in cfg.model else images, data_samples=samples),
                           wrapper)
    assert torch.isfinite(log['loss'])
    assert not [key for key, p in model.named_parameters() if p.requires_grad and p not in wrapper.optimizer.state]
