"""Inference runs the pipeline of testing: its loading step, and no step that needs annotations."""
import cv2
import numpy as np
import pytest
from mmcv.transforms import BaseTransform, LoadAnnotations
from mmengine.registry import TRANSFORMS
from mmseg.datasets import PackSegInputs  # noqa: F401  (enters mmseg's transforms)

from mmwhitebox.apis import inference_model, init_model
from mmwhitebox.apis.pipeline import InferencePipeline
from mmwhitebox.errors import ImageReadError, UserError
from tests.configs import reduced

RAW = dict(type='LoadImageFromFile', color_type='unchanged', to_float32=True)
PACK = dict(type='mmseg.PackSegInputs')


def masks_by_key(results):
    results['gt_seg_map'] = cv2.imread(results['seg_map_path'])
    return results


def masks_by_get(results):
    results['gt_seg_map'] = cv2.imread(results.get('seg_map_path'))[..., 0]
    return results


def remap(results):
    results['gt_seg_map'][results['gt_seg_map'] == 3] = 1
    return results


class Masken(LoadAnnotations):
    """A reader of annotations under another name."""


class Broken(BaseTransform):
    """A step that fails for a reason of its own, having asked for annotations as mmcv's geometric steps do."""

    def transform(self, results):
        assert results.get('gt_bboxes') is None
        raise KeyError('scale_of_mine')


class Half(BaseTransform):
    """A step that changes the image before it asks for labels."""

    def transform(self, results):
        results['img'] = results['img'][::2]
        results['gt_seg_map'] = results['gt_seg_map'][::2]
        return results


@pytest.fixture
def deep(tmp_path):
    image = np.random.default_rng(0).integers(0, 65536, (20, 30, 3)).astype(np.uint16)
    cv2.imwrite(str(tmp_path / 'deep.png'), image)
    return tmp_path / 'deep.png', image


def test_the_loading_step_of_the_config_reads_the_file(deep):
    path, image = deep
    found = InferencePipeline([RAW, PACK])(path)
    np.testing.assert_array_equal(found['inputs'].permute(1, 2, 0).numpy(), image.astype(np.float32))
    assert found['data_samples'].ori_shape == (20, 30)


@pytest.mark.parametrize('channels, dtype', [(3, np.uint16), (4, np.uint8), (1, np.uint8)])
def test_an_array_goes_through_the_rest_of_the_loading_step(channels, dtype):
    image = np.random.default_rng(0).integers(0, 256, (8, 9, channels)).astype(dtype)
    found = InferencePipeline([RAW, dict(type='Resize', scale=(18, 16)), PACK])(image)['inputs']
    assert str(found.dtype) == 'torch.float32' and found.shape == (channels, 16, 18)
    unchanged = InferencePipeline([{**RAW, 'to_float32': False}, PACK])(image.astype(np.uint8))['inputs']
    np.testing.assert_array_equal(unchanged.permute(1, 2, 0).numpy(), image.astype(np.uint8))


@pytest.mark.parametrize('step', [masks_by_key, masks_by_get, remap, Masken(),
                                  dict(type='mmseg.LoadBiomedicalAnnotation'), dict(type='mmseg.LoadDepthAnnotation')])
def test_steps_that_need_annotations_are_known_by_what_they_do(deep, step):
    if isinstance(step, dict):
        step = TRANSFORMS.build(step)
    found = InferencePipeline([RAW, step, PACK])(deep[0])
    assert found['inputs'].shape == (3, 20, 30) and 'gt_sem_seg' not in found['data_samples']


def test_steps_that_fail_otherwise_are_not_left_out(deep):
    with pytest.raises(KeyError, match='scale_of_mine'):
        InferencePipeline([RAW, Broken(), PACK])(deep[0])
    with pytest.raises(UserError, match='Half of the test pipeline changes the image.*gt_seg_map'):
        InferencePipeline([RAW, Half(), PACK])(deep[0])
    with pytest.raises(UserError, match='gives nothing'):
        InferencePipeline([RAW, lambda results: None, PACK])(deep[0])


def test_broken_files_of_any_loading_step_are_named(tmp_path):
    (tmp_path / 'x.png').write_bytes(b'no image')
    for name in ('x.png', 'absent.png'):
        with pytest.raises(ImageReadError, match=name):
            InferencePipeline([RAW, PACK])(tmp_path / name)


def four_bands():
    cfg = reduced('cbt_encoder_cbt_decoder_ade20k_mini.py')
    cfg.model.backbone.in_channels = 4
    cfg.model.data_preprocessor.update(mean=[0.] * 4, std=[255.] * 4, bgr_to_rgb=False)
    cfg.test_dataloader.dataset.pipeline = [RAW, *cfg.test_dataloader.dataset.pipeline[1:]]
    return cfg


def test_four_bands_and_the_refusal_of_three(tmp_path):
    model = init_model(four_bands(), device='cpu')
    image = np.random.default_rng(0).integers(0, 256, (40, 50, 4), dtype=np.uint8)
    cv2.imwrite(str(tmp_path / 'a.png'), image)
    by_path, by_array = inference_model(model, tmp_path / 'a.png'), inference_model(model, image)
    np.testing.assert_array_equal(by_path.mask, by_array.mask)
    assert by_path.overlay.shape == by_array.overlay.shape == (40, 50, 3)
    np.testing.assert_array_equal(by_array.image, image[..., 2::-1])
    with pytest.raises(UserError, match='3 channels come out .* takes 4'):
        inference_model(model, image[..., :3])
