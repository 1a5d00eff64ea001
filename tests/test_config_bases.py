"""The installed configs are bases of other configs, in both dialects."""
import pytest
from mmengine.config import Config

from tests.configs import ROOT

TEXT = "_base_ = 'mmwhitebox::{name}.py'\nmodel = dict(type='Mine', extra=dict(a=1))\n"
LAZY = """from mmengine.config import read_base
with read_base():
    from mmwhitebox.configs.{module} import *
model.update(type='Mine', extra=dict(a=1))
"""
NAMES = ['cbt_decoder_ade20k', 'crate/crate_tiny_imagenet', 'dmst/dmst_tssa_tiny_svhn',
         'segmenter/segmenter_mask_small_pascal_voc12_aug']


@pytest.mark.parametrize('name', NAMES)
@pytest.mark.parametrize('dialect', [TEXT, LAZY], ids=['_base_', 'read_base'])
def test_a_base_is_what_the_file_itself_says(tmp_path, monkeypatch, name, dialect):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'mine.py').write_text(dialect.format(name=name, module=name.replace('/', '.')))
    direct = Config.fromfile(ROOT / 'configs' / f'{name}.py').to_dict()
    mine = Config.fromfile('mine.py').to_dict()
    assert mine['model'].pop('extra') == dict(a=1) and mine['model'].pop('type') == 'Mine'
    del direct['model']['type']
    assert mine == direct


def test_other_packages_and_files_are_found_as_before(tmp_path):
    (tmp_path / 'base.py').write_text('a = 1\n')
    (tmp_path / 'mine.py').write_text(
        "_base_ = ['base.py', 'mmpretrain::resnet/resnet50_8xb32_in1k.py']\nb = 2\n")
    cfg = Config.fromfile(tmp_path / 'mine.py')
    assert (cfg.a, cfg.b, cfg.model.backbone.type) == (1, 2, 'ResNet')
    (tmp_path / 'lazy.py').write_text('with read_base():\n    from .base import *\nb = a + 1\n')
    assert Config.fromfile(tmp_path / 'lazy.py').b == 2
