"""Outputs in the shape of transformers' pipelines; preprocessing in its words where those say the same.

transformers is not installed here: the keys are those that its image processors document, and what they compute
(resize by Pillow, rescale, normalize) is written out again.
"""
import json

import numpy as np
import pytest
import torch
from mmengine.structures import PixelData
from PIL import Image

from mmwhitebox.apis import inference_model, init_model, save_pretrained
from tests.test_apis.pretrained_models import LOAD, small_classifier, small_segmentor, with_pipeline


@pytest.fixture
def photo():
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 52, 3), dtype=np.uint8))


def test_regions(photo):
    result = inference_model(init_model(small_segmentor(), device='cpu'), photo)
    labels = torch.zeros(1, 40, 52, dtype=torch.long)
    labels[..., 20:] = 2
    result.pred_sem_seg = PixelData(data=labels)
    found = result.to_hf()
    assert [list(region) for region in found] == [['score', 'label', 'mask']] * 2
    assert [region['label'] for region in found] == ['sky', 'car']
    for region, label, columns in zip(found, (0, 2), (slice(0, 20), slice(20, None))):
        mask = np.asarray(region['mask'])
        assert region['mask'].mode == 'L' and region['mask'].size == (52, 40)
        assert (mask[:, columns] == 255).all() and mask.sum() == 255 * mask[:, columns].size
        assert region['score'] == pytest.approx(result.probabilities[label][:, columns].mean(), abs=1e-6)
    model = init_model(small_segmentor(), device='cpu', cfg_options={
        'model.type': 'mmwhitebox.EncoderDecoder', 'model.test_cfg.keep_logits': False})
    assert [region['score'] for region in inference_model(model, photo).to_hf()] == [None] * len(
        np.unique(inference_model(model, photo).mask))


def test_one_channel(photo):
    cfg = small_segmentor('segmenter-linear')
    cfg.model.decode_head.update(num_classes=2, out_channels=1, threshold=0.5,
                                 loss_decode=dict(type='CrossEntropyLoss', use_sigmoid=True))
    cfg.test_dataloader.dataset.metainfo = dict(classes=['off', 'on'], palette=[[0, 0, 0], [9, 9, 9]])
    result = inference_model(init_model(cfg, device='cpu'), photo)
    labels = torch.zeros(1, 40, 52)
    labels[0, 0] = 1
    result.pred_sem_seg = PixelData(data=labels)
    off, on = result.to_hf()
    assert (off['label'], on['label']) == ('off', 'on')
    assert on['score'] == pytest.approx(result.probabilities[0, 0].mean(), abs=1e-6)
    assert off['score'] == pytest.approx(1 - result.probabilities[0, 1:].mean(), abs=1e-6)


def test_classes(photo):
    result = inference_model(init_model(small_classifier(), device='cpu'), photo)
    found = result.to_hf()
    assert [(one['label'], one['score']) for one in found] == result.top(5) and len(found) == 3
    assert len(result.to_hf(top_k=1)) == 1
    json.dumps(found)


def as_transformers(said, photo):
    """What an image processor with these values makes of a picture, (3, H, W)."""
    assert said['do_rescale'] and said['do_normalize'] and said['do_convert_rgb'] and not said.get('do_center_crop')
    if said['do_resize']:
        size = said['size']
        if 'shortest_edge' in size:
            assert said['image_processor_type'] == 'BitImageProcessor'
            short, long = sorted(photo.size)
            other = int(size['shortest_edge'] * long / short)
            size = dict(height=size['shortest_edge'], width=other) if photo.width > photo.height else dict(
                height=other, width=size['shortest_edge'])
        photo = photo.resize((size['width'], size['height']), said['resample'])
    values = np.asarray(photo.convert('RGB')).astype(np.float64) * said['rescale_factor']
    return ((values - said['image_mean']) / said['image_std']).transpose(2, 0, 1)


@pytest.mark.parametrize('make, steps', [
    (small_segmentor, []),
    (small_segmentor, [dict(type='Resize', scale=(32, 24), backend='pillow', interpolation='bicubic')]),
    (small_classifier, [dict(type='ResizeEdge', scale=16, edge='short', backend='pillow', interpolation='lanczos')])])
def test_the_preprocessor_makes_the_same_of_a_picture(make, steps, photo, tmp_path):
    model = init_model(with_pipeline(make(), *steps), device='cpu')
    said = json.loads((save_pretrained(model, tmp_path / 'saved') / 'preprocessor_config.json').read_text())
    photo.save(tmp_path / 'photo.png')
    sample = model.test_pipeline(tmp_path / 'photo.png')
    own = model.data_preprocessor(dict(inputs=[sample['inputs']], data_samples=[sample['data_samples']]))['inputs'][0]
    expected = torch.from_numpy(as_transformers(said, photo)).float()
    torch.testing.assert_close(own, expected, rtol=0, atol=1e-5)


def changed(cfg, **values):
    cfg.merge_from_dict(values)
    return cfg


@pytest.mark.parametrize('cfg', [
    with_pipeline(small_segmentor(), dict(type='Resize', scale=(32, 24))),  # OpenCV
    with_pipeline(small_segmentor(), dict(type='Resize', scale=(32, 24), keep_ratio=True, backend='pillow')),
    with_pipeline(small_classifier(), dict(type='ResizeEdge', scale=16, edge='long', backend='pillow')),
    with_pipeline(small_classifier(), dict(type='ResizeEdge', scale=16, backend='pillow'),
                  dict(type='CenterCrop', crop_size=15)),
    changed(small_segmentor(), **{'model.data_preprocessor.bgr_to_rgb': False}),
    changed(small_segmentor(), test_pipeline=[dict(type='LoadImageFromFile'), dict(type='PackSegInputs')]),
    changed(small_segmentor(), test_pipeline=[{**LOAD, 'exif': 'ignore'}, dict(type='PackSegInputs')])])
def test_what_it_cannot_say_is_not_written(cfg, tmp_path):
    folder = save_pretrained(init_model(cfg, device='cpu'), tmp_path / 'saved')
    assert not (folder / 'preprocessor_config.json').exists()
