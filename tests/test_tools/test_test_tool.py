"""What tools/test.py makes of its options, without running it."""

import pytest
import torch
from mmengine.config import Config
from mmengine.runner.amp import autocast

from mmwhitebox.engine import evaluation
from mmwhitebox.errors import UserError

needs_cpu = pytest.mark.skipif(torch.cuda.is_available(), reason='mmengine evaluates on the GPU, this checks the CPU')


@needs_cpu
@pytest.mark.parametrize('precision, dtype', [('fp32', None), ('bf16', torch.bfloat16)])
def test_precision_becomes_the_autocast_of_the_loop(precision, dtype):
    cfg = Config(dict(test_cfg=dict(type='TestLoop')))
    evaluation.use_precision(cfg, precision)
    with autocast(enabled=cfg.test_cfg.get('fp16', False)):
        assert torch.is_autocast_enabled('cpu') == (dtype is not None)
        assert dtype is None or torch.get_autocast_dtype('cpu') == dtype


@needs_cpu
def test_fp16_needs_a_gpu():
    with pytest.raises(UserError, match='bf16'):
        evaluation.use_precision(Config(dict(test_cfg=dict(type='TestLoop'))), 'fp16')


@pytest.mark.parametrize('kind, keep', [('SegTTAModel', True), ('mmwhitebox.SegTTAModel', None)])
def test_augmentation_by_mmseg_gets_the_logits_that_it_merges(kind, keep):
    cfg = Config(dict(model=dict(type='mmwhitebox.EncoderDecoder', test_cfg=dict(mode='whole')),
                      tta_model=dict(type=kind), tta_pipeline=['tta'],
                      test_dataloader=dict(dataset=dict(pipeline=['plain']))))
    evaluation.use_augmentation(cfg)
    assert cfg.model.type == kind and cfg.test_dataloader.dataset.pipeline == ['tta']
    assert cfg.model.module.test_cfg.get('keep_logits') is keep


def test_augmentation_that_the_config_lacks():
    with pytest.raises(UserError, match='no tta_model'):
        evaluation.use_augmentation(Config(dict(model=dict())))
