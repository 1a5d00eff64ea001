"""Inference runs the pipeline of testing: its loading step, and no step that needs annotations."""
import cv2
import numpy as np
import pytest
from mmcv.transforms import BaseTransform, LoadAnnotations
from mmengine.registry import TRANSFORMS
from mmseg.datasets import PackSegInputs  # noqa: F401  (enters mmseg's transforms)
from PIL import Image

from mmwhitebox.apis import inference_model, init_model
from mmwhitebox.apis.inputs import prepared
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


def masks_by_image_path(results):
    results['gt_seg_map'] = cv2.imread(results['img_path'].replace('.png', '_mask.png'))[..., 0]
    return results


def masks_by_rule(results):
    reduce_zero_label, label_map = results['reduce_zero_label'], results['label_map']
    results['gt_seg_map'] = cv2.imread(results['seg_map_path'], reduce_zero_label, label_map)
    return results


def half(results):
    labels = results['gt_seg_map'][::2]
    return {**results, 'img': results['img'][::2], 'gt_seg_map': labels}


class Half(BaseTransform):
    """A step that changes the image before it asks for labels."""

    def transform(self, results):
        results['img'] = results['img'][::2]
        results['gt_seg_map'] = results['gt_seg_map'][::2]
        return results


def cut_out(results):
    return {**results, 'img': results['img'] * (results['gt_seg_map'] > 0)[..., None]}


def boxed(results):
    results['img'] = results['img'][::2]
    results['gt_bboxes'] = results['gt_bboxes'] / 2
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


@pytest.mark.parametrize('step', [masks_by_key, masks_by_get, masks_by_image_path, masks_by_rule, remap, Masken(),
                                  dict(type='mmseg.LoadBiomedicalAnnotation'), dict(type='mmseg.LoadDepthAnnotation')])
def test_steps_that_need_annotations_are_known_by_what_they_do(deep, step):
    if isinstance(step, dict):
        step = TRANSFORMS.build(step)
    found = InferencePipeline([RAW, step, PACK])(deep[0])
    assert found['inputs'].shape == (3, 20, 30) and 'gt_sem_seg' not in found['data_samples']


def test_steps_that_fail_otherwise_are_not_left_out(deep):
    with pytest.raises(KeyError, match='scale_of_mine'):
        InferencePipeline([RAW, Broken(), PACK])(deep[0])
    with pytest.raises(UserError, match='cut_out.*changes the image by its labels'):
        InferencePipeline([RAW, cut_out, PACK])(deep[0])
    with pytest.raises(UserError, match='boxed.*changes the image.*gt_bboxes'):
        InferencePipeline([RAW, boxed, PACK])(deep[0])
    with pytest.raises(UserError, match='gives nothing'):
        InferencePipeline([RAW, lambda results: None, PACK])(deep[0])


@pytest.mark.parametrize('step', [half, Half()])
def test_a_step_that_changes_image_and_labels_changes_the_image(deep, step):
    path, image = deep
    found = InferencePipeline([RAW, step, PACK])(path)
    np.testing.assert_array_equal(found['inputs'].permute(1, 2, 0).numpy(), image[::2].astype(np.float32))
    assert 'gt_sem_seg' not in found['data_samples']


def test_a_loading_step_that_refuses_an_array_is_not_taken_for_a_reader_of_annotations():
    for image in (np.zeros((8, 9, 3), np.float32), np.zeros((8, 9), np.uint8)):
        with pytest.raises(UserError, match='array must be'):
            InferencePipeline([dict(type='mmwhitebox.LoadImage'), PACK])(image)


def test_files_in_memory_go_through_the_loading_step(deep, tmp_path):
    """16 bits, 12 of 16 bits, and four bands: as numpy computes them of the pixels that were written."""
    path, image = deep
    found = InferencePipeline([RAW, PACK])(path.read_bytes())
    np.testing.assert_array_equal(found['inputs'].permute(1, 2, 0).numpy(), image.astype(np.float32))
    assert found['data_samples'].ori_shape == (20, 30)
    grey = image[..., 0] >> 4
    Image.fromarray(grey).save(tmp_path / 'grey.png')
    twelve = InferencePipeline([dict(type='mmwhitebox.LoadImage', bit_depth=12), PACK])
    with Image.open(tmp_path / 'grey.png') as picture:
        for source in ((tmp_path / 'grey.png').read_bytes(), picture, Image.fromarray(grey)):
            np.testing.assert_array_equal(twelve(prepared(source))['inputs'][0].numpy(), grey >> 4)
            raw = InferencePipeline([RAW, PACK])(prepared(source))['inputs']
            np.testing.assert_array_equal(raw.numpy(), grey[None].astype(np.float32))
    rgba = np.random.default_rng(1).integers(0, 256, (7, 8, 4), dtype=np.uint8)
    found = InferencePipeline([RAW, PACK])(prepared(Image.fromarray(rgba)))['inputs'].permute(1, 2, 0).numpy()
    np.testing.assert_array_equal(found, rgba[..., [2, 1, 0, 3]].astype(np.float32))
    np.testing.assert_array_equal(prepared(rgba, rgb=True), rgba[..., [2, 1, 0, 3]])


def test_broken_files_of_any_loading_step_are_named(tmp_path):
    (tmp_path / 'x.png').write_bytes(b'no image')
    for name in ('x.png', 'absent.png'):
        with pytest.raises(ImageReadError, match=name):
            InferencePipeline([RAW, PACK])(tmp_path / name)


def four_bands():
    cfg = reduced('cbt_decoder/cbt_decoder_cbt_mini_ade20k.py')
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
