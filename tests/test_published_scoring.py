"""The published configs score as the papers' code does: windows, crops, interpolation, mean and std."""
import numpy as np
import pytest
from mmengine.config import Config
from PIL import Image

from mmwhitebox.apis import config_path, list_models
from mmwhitebox.apis.inference import test_pipeline as build_pipeline

SEGMENTATION = [name for name in list_models('*_ade20k') if '_mini_' not in name]
IMAGENET = [123.675, 116.28, 103.53], [58.395, 57.12, 57.375]


@pytest.mark.parametrize('name', SEGMENTATION)
def test_windows(name):
    model = Config.fromfile(config_path(name)).model
    crop = 640 if '_large_' in name else 512
    assert model.test_cfg == dict(mode='slide', crop_size=(crop, crop), stride=(crop - 32, crop - 32), enlarge=True,
                                  val=dict(stride=(crop, crop)))
    assert 'test_cfg' not in model.data_preprocessor  # windows are cut from the picture, not from its padding
    assert model.data_preprocessor.size == (crop, crop) and model.backbone.img_size == crop


@pytest.mark.parametrize('name, resize, crop, interpolation', [
    ('tost_small_imagenet', 224, 224, Image.BICUBIC),
    ('dmst_tiny_imagenet', 224, 224, Image.BICUBIC),
    ('cbt_small_imagenet', 256, 224, Image.BILINEAR),
    ('crate_base_imagenet', 256, 224, Image.BILINEAR),
    ('vit_cbsa_small_finetune_imagenet_384', 438, 384, Image.BILINEAR),
    ('vit_linear_small_finetune_imagenet', 256, 224, Image.BILINEAR)])
def test_classifiers_see_the_crop_of_the_paper(name, resize, crop, interpolation):
    cfg = Config.fromfile(config_path(name))
    image = np.random.default_rng(0).integers(0, 256, (480, 600, 3), np.uint8)
    found = build_pipeline(cfg)(image)['inputs'].numpy()
    width = int(resize * 600 / 480)
    resized = np.asarray(Image.fromarray(image).resize((width, resize), interpolation))
    top, left = round((resize - crop) / 2), round((width - crop) / 2)
    np.testing.assert_array_equal(found, resized[top:top + crop, left:left + crop].transpose(2, 0, 1))
    preprocessor = cfg.get('data_preprocessor') or cfg.model.data_preprocessor
    assert (preprocessor.mean, preprocessor.std) == IMAGENET and preprocessor.to_rgb
