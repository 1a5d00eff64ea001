"""The table in configs/README.md says what is counted, and the CBT decoders cost what the paper says."""
import re

import pytest
import timm
import torch
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope

from mmwhitebox.interpret import count_flops, count_parameters, count_similarities
from tests.configs import ROOT

ROWS = [line.split('|')[1:-1] for line in (ROOT / 'configs' / 'README.md').read_text().splitlines()
        if re.match(r'\| \[\w+_ade20k\.py\]', line)]
PAPER_FLOPS = dict(cbt_decoder_t=1.5, cbt_decoder=2.3, cbt_decoder_b=7.8, cbt_decoder_l=22.3)


def test_every_ade20k_decoder_config_has_a_row():
    names = {re.search(r'\[(\w+\.py)\]', row[0]).group(1) for row in ROWS}
    assert names == {p.name for p in (ROOT / 'configs').glob('*_ade20k.py') if '_encoder_' not in p.name}


@pytest.mark.parametrize('row', ROWS, ids=lambda row: row[0].split(']')[0].strip(' ['))
def test_row(row):
    name = re.search(r'\[(\w+)_ade20k\.py\]', row[0]).group(1)
    crop, params, head_params, flops = (float(cell) for cell in row[3:7])
    cfg = Config.fromfile(ROOT / 'configs' / f'{name}_ade20k.py')
    init_default_scope('mmseg')
    head = MODELS.build(cfg.model.decode_head).eval().to('meta')
    with torch.device('meta'):
        vit = timm.create_model(cfg.model.backbone.model_name, img_size=cfg.model.backbone.img_size, num_classes=0)
    assert cfg.train_pipeline[3].crop_size == (crop, crop)
    assert count_parameters(head) / 1e6 == pytest.approx(head_params, abs=0.006)
    assert (count_parameters(head) + count_parameters(vit)) / 1e6 == pytest.approx(params, abs=0.006)
    grid = int(crop) // vit.patch_embed.patch_size[0]
    features = torch.empty(1, cfg.model.decode_head.in_channels, grid, grid, device='meta')
    counted = count_flops(head, [features]) / 1e9
    assert counted == pytest.approx(flops, abs=0.006)
    if name in PAPER_FLOPS:
        assert counted == pytest.approx(PAPER_FLOPS[name], rel=0.05)


CLASSIFIERS = [line.split('|')[1:-1] for line in (ROOT / 'configs' / 'README.md').read_text().splitlines()
               if re.match(r'\| \[\w+_imagenet\.py\]', line)]


def test_every_imagenet_config_has_a_row():
    names = {re.search(r'\[(\w+\.py)\]', row[0]).group(1) for row in CLASSIFIERS}
    assert names == {p.name for p in (ROOT / 'configs').glob('*_imagenet.py')}


@pytest.mark.parametrize('row', CLASSIFIERS, ids=lambda row: row[0].split(']')[0].strip(' ['))
def test_classifier_row(row):
    params, flops, similarities = (float(cell) for cell in row[1:4])
    cfg = Config.fromfile(ROOT / 'configs' / re.search(r'\[(\w+\.py)\]', row[0]).group(1))
    init_default_scope('mmpretrain')
    with torch.device('meta'):
        encoder = MODELS.build(cfg.model.backbone).eval()
        head = torch.nn.Linear(cfg.model.head.in_channels, 1000)
        image = torch.empty(1, 3, 224, 224)
    assert (count_parameters(encoder) + count_parameters(head)) / 1e6 == pytest.approx(params, abs=0.006)
    counted = count_flops(encoder, image) + 2 * cfg.model.head.in_channels * 1000
    assert counted / 1e9 == pytest.approx(flops, abs=0.006)
    assert count_similarities(encoder, image) / 1e6 == pytest.approx(similarities, abs=0.006)
