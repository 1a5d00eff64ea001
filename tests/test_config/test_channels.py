"""Channels are stated once; what does not fit them is left out of base configs, and refused elsewhere."""
import random

import numpy as np
import pytest
from mmengine.config import Config
from mmengine.registry import TRANSFORMS, DefaultScope

from mmwhitebox.config.colour_steps import EIGHT_BITS, THREE_CHANNELS
from mmwhitebox.config.consistency import check_consistency
from mmwhitebox.config.own_data import fill_own_data
from mmwhitebox.config.reading import load_config
from mmwhitebox.config_parts import Part
from mmwhitebox.errors import ConfigError

FOUR = 'channels=4, mean=[1, 2, 3, 4], std=[5, 6, 7, 8]'


@pytest.fixture
def load(tmp_path):
    def read(own, more='', task='seg'):
        path = tmp_path / 'mine.py'
        path.write_text(f"_base_ = 'mmwhitebox::_base_/datasets/own_{task}.py'\n"
                        f"own_data = dict(root='.', classes=('a', 'b'), {own})\n{more}\n")
        return load_config(str(path))
    return read


def loaders(cfg):
    return [step for name in ('train', 'val', 'test') for step in cfg[f'{name}_dataloader'].dataset.pipeline[:1]] + [
        cfg[name][0] for name in ('train_pipeline', 'test_pipeline', 'tta_pipeline') if name in cfg]


@pytest.mark.parametrize('task', ['seg', 'cls'])
def test_one_place(load, task):
    cfg = load(f"{FOUR}, value_range=(0, 4095), replace_nan=0, channel_axis='last'", task=task)
    for step in loaders(cfg):
        assert (step.channels, step.value_range, step.replace_nan, step.channel_axis) == (4, (0, 4095), 0, 'last')
    assert cfg.model.backbone.in_channels == 4
    preprocessor = cfg.model.data_preprocessor
    assert (preprocessor['mean'], preprocessor['std']) == ([1, 2, 3, 4], [5, 6, 7, 8])
    assert cfg.val_dataloader.dataset.metainfo.shown == dict(
        channels=4, display=[1, 2, 3], channel_axis='last', value_range=(0, 4095))
    assert 'PhotoMetricDistortion' not in str(cfg.to_dict())
    check_consistency(cfg)
    before = cfg.to_dict()
    fill_own_data(cfg)
    assert cfg.to_dict() == before


def test_photographs_stay_as_they_are(load):
    cfg = load('bit_depth=12')
    assert 'PhotoMetricDistortion' in str(cfg.train_dataloader) and 'shown' not in str(cfg.to_dict())
    assert 'in_channels' not in cfg.model.backbone
    cfg = load('mean=[1, 2, 3], std=[4, 5, 6]')
    assert cfg.model.data_preprocessor['mean'] == [1, 2, 3] and 'PhotoMetricDistortion' in str(cfg.train_dataloader)


def test_colour_of_more_than_8_bits_is_not_distorted_as_bytes(load):
    assert 'PhotoMetricDistortion' not in str(load('value_range=(0, 4095)').to_dict())


@pytest.mark.parametrize('own, message', [
    ('channels=4', 'own_data.mean=None must be a list of 4 numbers'),
    ('channels=4, mean=[1, 2, 3], std=[1, 2, 3, 4]', r'own_data.mean=\[1, 2, 3\] must be a list of 4 numbers'),
    ('mean=[1, 2, 3]', 'own_data.std=None must be a list of 3 numbers'),
    ("channels='four', mean=[1], std=[1]", "own_data.channels='four' must be a number"),
    (f'{FOUR}, display=(1, 2, 5)', r'own_data.display=\(1, 2, 5\) must be the numbers.* from 1 to 4'),
    ('value_rang=(0, 1)', "own_data.value_rang: unknown key; did you mean 'value_range'"),
])
def test_what_is_stated_wrongly(load, own, message):
    with pytest.raises(ConfigError, match=message):
        load(own)


@pytest.mark.parametrize('own, change, message', [
    (FOUR, {'model.backbone.in_channels': 3}, 'model.backbone.in_channels=3, but .* loads 4 channels'),
    (FOUR, {'model.data_preprocessor.mean': [1, 2, 3]}, 'mean has 3 values, but .* loads 4 channels'),
    (FOUR, {'train_dataloader.dataset.pipeline.3': dict(type='PhotoMetricDistortion')},
     'PhotoMetricDistortion.* is for images of 3 channels, these have 4: take it out'),
    ('value_range=(0, 9)', {'train_dataloader.dataset.pipeline.3': dict(type='CLAHE')},
     'CLAHE.* is for images of 8 bits, these have a value_range'),
])
def test_parts_that_contradict_are_refused_before_a_training(load, own, change, message):
    cfg = load(own)
    cfg.merge_from_dict(change)
    with pytest.raises(ConfigError, match=message):
        check_consistency(cfg)


def test_steps_of_others_are_left_alone(load):
    cfg = load(FOUR)
    cfg.train_dataloader.dataset.pipeline.insert(1, dict(type='SomebodysStep'))
    cfg.model.backbone.in_channels = 7
    with pytest.raises(ConfigError) as error:
        check_consistency(cfg)
    assert 'train_dataloader' not in str(error.value) and 'val_dataloader' in str(error.value)


def test_the_steps_named_are_those_that_fail():
    """Each fails, or changes the number of channels or the type, or rounds, on images that it is not for."""
    np.random.seed(0)
    random.seed(0)
    options = dict(
        ColorJitter=dict(brightness=.4, contrast=.4, saturation=.4, hue=.1),
        Lighting=dict(eigval=[55.4625, 4.794, 1.1475], eigvec=np.eye(3).tolist()), RandomErasing=dict(erase_prob=1.),
        RandAugment=dict(policies='timm_increasing', num_policies=2, total_level=10, magnitude_level=9),
        AutoAugment=dict(policies='imagenet'), RandomGrayscale=dict(prob=1.), CLAHE={}, AdjustGamma={},
        RandomCutOut=dict(prob=1, n_holes=2, cutout_shape=(3, 3)), Posterize=dict(bits=4, prob=1.),
        GaussianBlur=dict(radius=1., prob=1.), **{name: dict(magnitude=.5, prob=1.) for name in
                                                 ('ColorTransform', 'Contrast')},
        **{name: dict(prob=1.) for name in ('AutoContrast', 'Equalize')})
    for names, channels, dtype in ((THREE_CHANNELS, (2, 5), np.uint8), (EIGHT_BITS, (3, ), np.float32)):
        for name in sorted(names):
            scope = 'mmseg' if name in ('CLAHE', 'AdjustGamma', 'PhotoMetricDistortion', 'RGB2Gray', 'RandomCutOut',
                                        'RandomGrayscale') else 'mmpretrain'
            with DefaultScope.overwrite_default_scope(scope):
                step = TRANSFORMS.build(dict(type=name, **options.get(name, {})))
            assert Part('', {}, type(step)).known
            if name == 'CLAHE':
                step.prob = 1.
            failed = False
            for number in channels * 12:
                image = (np.random.rand(20, 24, number) * 255).astype(dtype)
                whole = (image == image.round()).all()
                try:
                    found = step(dict(img=image, img_shape=(20, 24), ori_shape=(20, 24), seg_fields=[]))['img']
                    failed |= found.shape != image.shape or found.dtype != dtype
                    failed |= not whole and (found == found.round()).all()
                except Exception:
                    failed = True
            assert failed, name


def test_a_config_without_own_data_is_compared_too():
    cfg = Config(dict(
        model=dict(type='mmwhitebox.EncoderDecoder',
                   backbone=dict(type='mmwhitebox.WhiteBoxTransformer', arch='cbt-tiny', out_type='featmap'),
                   decode_head=dict(type='FCNHead', num_classes=2, in_channels=8, channels=8),
                   test_cfg=dict(mode='whole')),
        val_dataloader=dict(dataset=dict(type='BaseSegDataset', pipeline=[dict(type='mmwhitebox.LoadImage', channels=2)]
                                         ))))
    with pytest.raises(ConfigError, match='model.backbone.in_channels=3, but val_dataloader.* loads 2 channels'):
        check_consistency(cfg, ('val', ))
