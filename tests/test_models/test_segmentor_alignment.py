"""Windows, small images and patches that do not fit: the logits lie where the image is."""
import json

import pytest
import torch
import torch.nn.functional as F
from mmengine.config import ConfigDict
from mmengine.registry import MODELS
from mmengine.structures import PixelData
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from mmseg.structures import SegDataSample
from torch import nn

from mmwhitebox.models.segmentors.encoder_decoder import enlarged_size
from mmwhitebox.models.segmentors.tiles import window_starts
from tests.configs import ROOT

WINDOWS = json.loads((ROOT / 'tests/data/golden/windows.json').read_text())['cases']


@MODELS.register_module(force=True)
class MeanOfPatches(nn.Module):
    """The mean colour of every patch of P x P pixels; the image has whole patches, or the test fails."""

    def __init__(self, patch_size):
        super().__init__()
        self.patch_size = patch_size
        self.seen = []

    def forward(self, x):
        assert x.shape[2] % self.patch_size == 0 and x.shape[3] % self.patch_size == 0
        self.seen.append(tuple(x.shape[2:]))
        return (F.avg_pool2d(x, self.patch_size), )


@MODELS.register_module(force=True)
class Blur(nn.Module):
    """A convolution at full resolution, no patches: what it sees of a pixel does not depend on the window's origin."""

    def __init__(self):
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.register_buffer('kernel', torch.randn(3, 3, 1, 1, generator=generator))

    def forward(self, x):
        return (F.conv2d(x, self.kernel), )


@MODELS.register_module(force=True)
class Passing(BaseDecodeHead):
    """The features are the logits."""

    def __init__(self, **kwargs):
        super().__init__(in_channels=3, channels=3, num_classes=3, dropout_ratio=0,
                         loss_decode=dict(type='CrossEntropyLoss', avg_non_ignore=True), **kwargs)

    def forward(self, inputs):
        return inputs[0]


def build(backbone, test_cfg, size_divisor=None, kind='mmwhitebox.EncoderDecoder'):
    return MODELS.build(ConfigDict(
        type=kind, backbone=backbone, decode_head=dict(type='Passing'), test_cfg=dict(keep_logits=True, **test_cfg),
        data_preprocessor=dict(type='SegDataPreProcessor',
                               test_cfg=None if size_divisor is None else dict(size_divisor=size_divisor)))).eval()


def sample(size, ori=None, **meta):
    return SegDataSample(metainfo=dict(img_shape=size, ori_shape=ori or size, **meta))


def ramp(h, w):
    """An image whose channels are the row, the column and a constant."""
    rows, columns = torch.meshgrid(torch.arange(h), torch.arange(w), indexing='ij')
    return torch.stack([rows, columns, torch.full((h, w), 40)]).float()


@pytest.mark.parametrize('patch, divisor', [(14, 16), (16, 14), (14, None), (16, None), (5, 3)])
@pytest.mark.parametrize('test_cfg', [
    dict(mode='whole'), dict(mode='slide', crop_size=(33, 50), stride=(20, 31)),
    dict(mode='slide', crop_size=48, stride=32)], ids=['whole', 'slide', 'integers'])
def test_logits_lie_where_the_image_is(patch, divisor, test_cfg):
    """Patch means of a ramp, enlarged, are the ramp itself, away from the outermost half patches of a window."""
    h, w = 3 * patch + 20, 5 * patch + 7
    model = build(dict(type='MeanOfPatches', patch_size=patch), test_cfg, divisor)
    with torch.no_grad():
        (result, ) = model.test_step(dict(inputs=[ramp(h, w)], data_samples=[sample((h, w))]))
    logits = result.seg_logits.data
    assert logits.shape == (3, h, w)
    if test_cfg['mode'] == 'whole':
        inner = slice(patch, patch * 2)  # whole patches without padding around it
        torch.testing.assert_close(logits[:2, inner, inner], ramp(h, w)[:2, inner, inner], rtol=0, atol=1e-3)
    # by definition: every window padded to whole patches, its patches enlarged to P pixels each, cut
    crop, stride = ([v, v] if isinstance(v, int) else v for v in (
        test_cfg.get('crop_size', (999, 999)), test_cfg.get('stride', (999, 999))))
    padded = F.pad(ramp(h, w), (0, -w % (divisor or 1), 0, -h % (divisor or 1)))
    total, count = torch.zeros_like(padded), torch.zeros_like(padded)
    for y in window_starts(padded.shape[1], min(crop[0], padded.shape[1]), stride[0]):
        for x in window_starts(padded.shape[2], min(crop[1], padded.shape[2]), stride[1]):
            window = padded[:, y:y + crop[0], x:x + crop[1]]
            whole = F.pad(window, (0, -window.shape[2] % patch, 0, -window.shape[1] % patch))
            means = F.avg_pool2d(whole, patch)
            large = F.interpolate(means[None], scale_factor=patch, mode='bilinear')[0, :, :window.shape[1],
                                                                                   :window.shape[2]]
            total[:, y:y + crop[0], x:x + crop[1]] += large
            count[:, y:y + crop[0], x:x + crop[1]] += 1
    torch.testing.assert_close(logits, (total / count)[:, :h, :w], rtol=1e-4, atol=1e-3)


def test_a_training_pads_to_whole_patches_and_ignores_what_it_adds():
    model = build(dict(type='MeanOfPatches', patch_size=14), dict(mode='whole'))
    image = ramp(32, 32) / 10
    labels = torch.randint(0, 3, (1, 32, 32))
    data = SegDataSample(gt_sem_seg=PixelData(data=labels), metainfo=dict(img_shape=(32, 32), ori_shape=(32, 32)))
    loss = model.loss(image[None], [data])['decode.loss_ce']
    whole = F.pad(image, (0, 10, 0, 10))
    logits = F.interpolate(F.avg_pool2d(whole, 14)[None], scale_factor=14, mode='bilinear')[..., :32, :32]
    torch.testing.assert_close(loss, F.cross_entropy(logits, labels))


@pytest.mark.parametrize('case', WINDOWS, ids=lambda c: f"{c['image'][0]}x{c['image'][1]}-{c['window']}-{c['stride']}")
def test_official_windows(case):
    size = enlarged_size(case['image'], case['window'])
    assert list(size) == case['resized']
    rows, columns = (window_starts(length, case['window'], case['stride']) for length in size)
    assert [[y, x] for y in rows for x in columns] == case['origins']


def test_the_windows_of_a_published_config_are_the_official_ones():
    """683 pixels: the last window starts at 171, and padding comes inside a window only."""
    model = build(dict(type='MeanOfPatches', patch_size=16),
                  dict(mode='slide', crop_size=(512, 512), stride=(480, 480), min_size=512))
    for size, enlarged, lefts in (((512, 683), (512, 683), [0, 171]), ((480, 640), (512, 682), [0, 170])):
        inputs, metas = model.enlarge(torch.zeros(1, 3, *size), [dict(img_shape=size, ori_shape=size)])
        grid = model.window_grid(inputs, metas[0])
        assert (grid.size, grid.tops, grid.lefts, grid.window) == (enlarged, [0], lefts, (512, 512))


@pytest.mark.parametrize('test_cfg', [
    dict(mode='whole'), dict(mode='slide', crop_size=(32, 32), stride=(24, 24)),
    dict(mode='slide', crop_size=(32, 32), stride=(32, 32))], ids=['whole', 'overlap', 'slide'])
@pytest.mark.parametrize('flip', [None, 'horizontal'])
def test_small_images_are_enlarged_in_every_mode(test_cfg, flip):
    """A network that sees single pixels gives, by windows or not, its output on the enlarged image, resized."""
    torch.manual_seed(0)
    image, model = torch.rand(3, 20, 47), build(dict(type='Blur'), dict(test_cfg, min_size=32))
    meta = dict(flip=True, flip_direction=flip) if flip else {}
    with torch.no_grad():
        (result, ) = model.test_step(dict(inputs=[image], data_samples=[sample((20, 47), (40, 90), **meta)]))
    large = F.interpolate(image[None], (32, 75), mode='bilinear')
    expected = F.conv2d(large, model.backbone.kernel)
    expected = F.interpolate(expected.flip(3) if flip else expected, (40, 90), mode='bilinear')[0]
    torch.testing.assert_close(result.seg_logits.data, expected, rtol=1e-5, atol=1e-5)


def test_two_scales_and_flips_by_windows_equal_whole_images():
    """Masks of the multi-scale test; the smaller scale lies below the window and is enlarged."""
    torch.manual_seed(0)
    tta = {}
    for mode, test_cfg in (('slide', dict(mode='slide', crop_size=(32, 32), stride=(24, 24))), ('whole', {})):
        segmentor = dict(
            type='mmwhitebox.EncoderDecoder', backbone=dict(type='Blur'), decode_head=dict(type='Passing'),
            test_cfg=dict(min_size=32, **test_cfg), data_preprocessor=dict(type='SegDataPreProcessor'))
        tta[mode] = MODELS.build(ConfigDict(type='mmwhitebox.SegTTAModel', module=segmentor)).eval()
    image = torch.rand(1, 3, 40, 60)
    inputs, samples = [], []
    for size in ((20, 30), (60, 90)):
        view = F.interpolate(image, size, mode='bilinear')[0]
        for flip in (None, 'horizontal'):
            inputs.append([view.flip(2) if flip else view])
            samples.append([sample(size, (40, 60), **(dict(flip=True, flip_direction=flip) if flip else {}))])
    found = {}
    with torch.no_grad():
        for mode, model in tta.items():
            maps = [model.module.logit_maps(torch.stack(view), data) for view, data in zip(inputs, samples)]
            found[mode] = sum(view[0].probabilities() for view in maps) / len(maps)
            (result, ) = model.test_step(dict(inputs=inputs, data_samples=samples))
            assert torch.equal(result.pred_sem_seg.data[0], found[mode].argmax(0))
    torch.testing.assert_close(found['slide'], found['whole'], rtol=0, atol=1e-5)


def test_validation_has_a_stride_of_its_own():
    model = build(dict(type='MeanOfPatches', patch_size=8),
                  dict(mode='slide', crop_size=(16, 16), stride=(8, 8), val_stride=(16, 16), batch_windows=1))
    data = dict(inputs=[ramp(32, 32)], data_samples=[sample((32, 32))])
    with torch.no_grad():
        model.val_step(data)
        assert len(model.backbone.seen) == 4
        model.test_step(data)
        assert len(model.backbone.seen) == 4 + 9


@pytest.mark.parametrize('test_cfg, message', [
    (dict(mode='slide', crop_size=(16, 16), stride=(16, 17)), 'larger than crop_size'),
    (dict(mode='slide', crop_size=(16, 0), stride=(8, 8)), 'crop_size=.*positive'),
    (dict(mode='slide', crop_size=(16, 16), stride=0), 'stride=0.*positive'),
    (dict(mode='slide', crop_size=(16, 16)), 'stride=None'),
    (dict(mode='slide', stride=(16, 16)), 'crop_size=None'),
    (dict(mode='whole', min_size=-3), 'min_size=-3'),
])
def test_windows_that_cannot_cover_an_image_are_refused(test_cfg, message):
    model = build(dict(type='Blur'), test_cfg)
    with pytest.raises(ValueError, match=message):
        model.test_step(dict(inputs=[ramp(32, 32)], data_samples=[sample((32, 32))]))


@pytest.mark.parametrize('step', ['val_step', 'test_step'])
def test_a_batch_of_several_sizes(step):
    """mmseg asks for one size; here each image gives what it gives alone."""
    model = build(dict(type='MeanOfPatches', patch_size=8), dict(mode='whole'))
    sizes = [(20, 33), (41, 16)]
    with torch.no_grad():
        together = getattr(model, step)(dict(inputs=[ramp(*s) for s in sizes], data_samples=[sample(s) for s in sizes]))
        for size, result in zip(sizes, together):
            (alone, ) = model.test_step(dict(inputs=[ramp(*size)], data_samples=[sample(size)]))
            assert torch.equal(result.seg_logits.data, alone.seg_logits.data)
