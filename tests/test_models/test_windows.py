"""Windows, enlarging and batches of the published evaluation; validation has its own windows."""
import json

import numpy as np
import pytest
import torch
from mmengine.config import ConfigDict
from mmengine.registry import MODELS
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample
from torch import nn
from torch.nn.functional import interpolate

from mmwhitebox.apis.result import SegResult
from mmwhitebox.drawing import draw_panels
from mmwhitebox.engine.metrics import PerClassIoUMetric
from mmwhitebox.engine.visualizer import SideBySideVisualizer
from tests.golden import FOLDER

CASES = json.loads((FOLDER / 'windows.json').read_text())['cases']
SLIDE = dict(mode='slide', crop_size=(32, 32), stride=(20, 20), enlarge=True)
WHOLE = dict(mode='whole', crop_size=(32, 32), enlarge=True)


@MODELS.register_module(force=True)
class Pixels(nn.Module):
    """The image itself as features of every pixel."""

    def forward(self, x):
        return (x, )


def build(test_cfg, out_channels=5, size_divisor=None):
    """A network that is a convolution of single pixels, so that windows make no difference."""
    torch.manual_seed(0)
    model = MODELS.build(ConfigDict(
        type='mmwhitebox.EncoderDecoder',
        data_preprocessor=dict(type='SegDataPreProcessor', mean=[127.5] * 3, std=[50.] * 3,
                               test_cfg=dict(size_divisor=size_divisor) if size_divisor else None),
        backbone=dict(type='Pixels'),
        decode_head=dict(type='FCNHead', in_channels=3, channels=3, num_convs=0, concat_input=False,
                         num_classes=max(out_channels, 2), out_channels=out_channels,
                         threshold=0.4 if out_channels == 1 else None, dropout_ratio=0,
                         loss_decode=dict(type='CrossEntropyLoss', use_sigmoid=out_channels == 1)),
        test_cfg=test_cfg))
    nn.init.normal_(model.decode_head.conv_seg.weight)
    return model.eval()


def picture(*size):
    return torch.randint(0, 256, (3, *size), dtype=torch.uint8)


def sample(size, ori_shape, flip=None):
    flipped = dict(flip=True, flip_direction=flip) if flip else {}
    return SegDataSample(metainfo=dict(ori_shape=ori_shape, img_shape=size, img_path='a.png', **flipped))


def expected_probabilities(model, image, ori_shape, flip=False, least=32):
    """The published evaluation of one view, written down: enlarge, network, resize, mirror back, softmax."""
    x = ((image.float() - 127.5) / 50)[None]
    h, w = image.shape[1:]
    if min(h, w) < least:
        x = interpolate(x, (least, int(w / h * least)) if h < w else (int(h / w * least), least), mode='bilinear')
    logits = interpolate(model.decode_head((x, )), ori_shape, mode='bilinear')
    logits = logits.flip(3) if flip else logits
    return (logits.softmax(1) if logits.shape[1] > 1 else logits.sigmoid())[0]


@pytest.mark.parametrize('case', CASES, ids=lambda c: f'{c["image"]}-{c["window"]}-{c["stride"]}')
def test_windows_are_those_of_the_published_evaluation(case):
    model = build(dict(mode='slide', crop_size=case['window'], stride=case['stride'], enlarge=True))
    image = torch.empty(1, 3, *case['image'], device='meta')
    enlarged, metas = model.enlarge(image, [{}])
    grid = model.window_grid(tuple(enlarged.shape[2:]))
    assert list(enlarged.shape[2:]) == list(grid.size) == case['resized']
    assert [[top, left] for top in grid.tops for left in grid.lefts] == case['origins']
    assert grid.window == (case['window'], case['window'])
    assert metas[0]['ori_shape'] == tuple(case['image'])


@pytest.mark.parametrize('test_cfg', [SLIDE, WHOLE], ids=['slide', 'whole'])
@pytest.mark.parametrize('size', [(20, 27), (70, 24), (45, 33), (8, 60)])
@torch.no_grad()
def test_small_images_are_enlarged_and_brought_back(test_cfg, size):
    image = picture(*size)
    model = build({**test_cfg, 'keep_logits': 'factors'}, size_divisor=16)  # taken away again
    result = model.test_step(dict(inputs=[image], data_samples=[sample(size, (41, 53))]))[0]
    expected = expected_probabilities(model, image, (41, 53))
    torch.testing.assert_close(result.logit_map.probabilities(), expected, rtol=0, atol=1e-5)
    x = torch.randn(1, 3, *size)
    assert model(x, mode='predict')[0].pred_sem_seg.shape == size  # without metainfo: the size that came in


@torch.no_grad()
def test_an_oblong_window_fits_into_the_enlarged_image():
    model = build(dict(WHOLE, crop_size=(30, 40)))
    sizes = {(15, 80): (30, 160), (60, 10): (240, 40), (15, 20): (30, 40), (30, 40): (30, 40), (29, 60): (30, 62)}
    for size, enlarged in sizes.items():
        assert model.enlarge(torch.empty(1, 3, *size, device='meta'), [{}])[0].shape[2:] == enlarged


@pytest.mark.parametrize('test_cfg', [SLIDE, WHOLE], ids=['slide', 'whole'])
@pytest.mark.parametrize('out_channels', [5, 1])
@torch.no_grad()
def test_two_scales_and_flips_give_the_masks_of_whole_images(test_cfg, out_channels):
    """The mean probability of four views, from which the label map is made."""
    model = build({**test_cfg, 'keep_logits': 'factors'}, out_channels)
    images = [picture(20, 27), picture(40, 54)]
    views, expected = dict(inputs=[], data_samples=[]), 0
    for image in images:
        for flip in (False, True):
            view = image.flip(2) if flip else image
            size = tuple(image.shape[1:])
            views['inputs'].append([view])
            views['data_samples'].append([sample(size, (41, 53), 'horizontal' if flip else None)])
            expected = expected + expected_probabilities(model, view, (41, 53), flip) / 4
    found = sum(model.test_step(dict(inputs=inputs, data_samples=samples))[0].logit_map.probabilities()
                for inputs, samples in zip(*views.values())) / 4
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)
    tta = MODELS.build(dict(type='mmwhitebox.SegTTAModel', module=model))
    labels = tta.test_step(views)[0].pred_sem_seg.data[0]
    wanted = expected.argmax(0) if out_channels > 1 else (expected[0] > 0.4).long()
    assert labels.dtype == torch.int64 and 0 < labels.float().mean() and (labels != wanted).float().mean() < 2e-3


def test_padded_images_of_several_sizes_are_not_one_batch():
    samples = [SegDataSample(metainfo=dict(img_padding_size=padding)) for padding in ([0, 4, 0, 0], [0, 0, 0, 4])]
    with pytest.raises(ValueError, match='several sizes'):
        build(SLIDE)(torch.randn(2, 3, 40, 40), samples, mode='predict')


@pytest.mark.parametrize('enlarge', [False, True])
@pytest.mark.parametrize('size_divisor', [None, 16])
@torch.no_grad()
def test_images_of_a_batch_may_differ_in_size(size_divisor, enlarge):
    """Validation, testing and test-time augmentation: the same as one by one, in the order of the images."""
    model = build(dict(SLIDE, enlarge=enlarge, keep_logits=True), size_divisor=size_divisor)
    sizes = [(40, 50), (30, 20), (40, 50), (33, 64)]
    images = [picture(*size) for size in sizes]

    def data(indices):
        samples = [sample(sizes[i], (45 + i, 60)) for i in indices]
        for i, s in zip(indices, samples):
            s.gt_sem_seg = PixelData(data=torch.full((1, 45 + i, 60), i))
        return dict(inputs=[images[i] for i in indices], data_samples=samples)

    for step in (model.test_step, model.val_step):
        for i, result in enumerate(step(data(range(4)))):
            alone = step(data([i]))[0]
            assert result.seg_logits.shape == (45 + i, 60) and int(result.gt_sem_seg.data[0, 0, 0]) == i
            torch.testing.assert_close(result.seg_logits.data, alone.seg_logits.data, rtol=0, atol=1e-5)
            assert torch.equal(result.pred_sem_seg.data, alone.pred_sem_seg.data)
    tta = MODELS.build(dict(type='mmwhitebox.SegTTAModel', module=model))
    views = {key: [value, value] for key, value in data(range(4)).items()}
    for i, result in enumerate(tta.test_step(views)):
        assert result.pred_sem_seg.shape == (45 + i, 60) and int(result.gt_sem_seg.data[0, 0, 0]) == i


@torch.no_grad()
def test_validation_has_windows_of_its_own():
    """Testing takes the stride of the config, validation that of test_cfg.val."""
    model = build(dict(SLIDE, val=dict(stride=(32, 32))))
    seen = []
    model.on_windows = lambda done, total: seen.append(total)
    data = dict(inputs=[picture(64, 64)], data_samples=[sample((64, 64), (64, 64))])
    for step in (model.val_step, model.test_step, model.val_step):
        seen.clear()
        step(data)
        assert seen[-1] == (4 if step == model.val_step else 9)
    assert model.test_cfg.stride == (20, 20)
    model.on_windows = lambda done, total: 1 / 0
    with pytest.raises(ZeroDivisionError):
        model.val_step(data)
    assert model.test_cfg.stride == (20, 20)


@pytest.mark.parametrize('test_cfg', [SLIDE, WHOLE], ids=['slide', 'whole'])
@torch.no_grad()
def test_one_channel_from_the_network_to_the_picture(test_cfg):
    model = build({**test_cfg, 'keep_logits': 'factors'}, out_channels=1)
    size = (20, 27)
    image = picture(*size)
    data = sample(size, (41, 53))
    data.gt_sem_seg = PixelData(data=torch.randint(0, 2, (1, 41, 53)))
    found = model.test_step(dict(inputs=[image], data_samples=[data]))[0]
    meta = dict(classes=['land', 'water'], palette=[[0, 200, 0], [0, 0, 200]])
    result = SegResult.from_sample(found, np.zeros((41, 53, 3), np.uint8), meta)
    expected = expected_probabilities(model, image, (41, 53))
    assert result.mask.dtype == np.int64 and sorted(np.unique(result.mask)) == [0, 1]
    np.testing.assert_allclose(result.probabilities, expected.numpy(), atol=1e-5)
    assert ((result.probabilities[0] > 0.4) != result.mask).mean() < 2e-3
    assert (result.overlay[result.mask == 1] == [0, 0, 120]).all()
    assert (result.overlay[result.mask == 0] == [0, 120, 0]).all()
    panels = draw_panels(result.image, {'prediction': result.mask}, **meta)
    assert panels.dtype == np.uint8 and panels.ndim == 3
    metric = PerClassIoUMetric()
    metric.dataset_meta = meta
    metric.process({}, [found.to_dict()])
    truth = data.gt_sem_seg.data.numpy()[0]
    water = ((result.mask == 1) & (truth == 1)).sum() / ((result.mask == 1) | (truth == 1)).sum()
    assert metric.compute_metrics(metric.results)['IoU.water'] == pytest.approx(100 * water, abs=0.01)


@torch.no_grad()
def test_one_channel_of_mmseg_s_segmentor(tmp_path):
    """Its label map is float; arrays and pictures are made of it all the same."""
    found = SegDataSample(pred_sem_seg=PixelData(data=torch.tensor([[[0., 1., 1.]]]).repeat(1, 3, 1)))
    meta = dict(classes=['land', 'water'], palette=[[0, 200, 0], [0, 0, 200]])
    image = np.zeros((3, 3, 3), np.uint8)
    result = SegResult.from_sample(found, image, meta)
    assert result.mask.dtype == np.int64 and result.mask.tolist() == [[0, 1, 1]] * 3
    visualizer = SideBySideVisualizer('of_one_channel')
    visualizer.dataset_meta = meta
    visualizer.add_datasample('a', image, found, out_file=str(tmp_path / 'a.png'))
    assert (tmp_path / 'a.png').is_file()


def test_one_channel_learns_and_counts_right_pixels():
    model = build(SLIDE, out_channels=1)
    images = torch.randn(2, 3, 16, 16)
    truth = torch.randint(0, 2, (2, 1, 16, 16))
    truth[0, 0, :5] = 255
    samples = [SegDataSample(gt_sem_seg=PixelData(data=labels)) for labels in truth]
    losses = model.loss(images, samples)
    right = ((model.decode_head((images, )).sigmoid() > 0.4).long() == truth)[truth != 255].float().mean()
    assert losses['decode.acc_seg'].item() == pytest.approx(100 * right.item(), rel=1e-5)
    losses['decode.loss_ce'].backward()
    assert model.decode_head.conv_seg.weight.grad.abs().sum() > 0
