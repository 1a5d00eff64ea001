"""The bounded segmentor predicts what mmseg's predicts: windows, padding, flips, sizes, one channel, batches."""
import copy

import pytest
import torch
import torch.nn.functional as F
from mmengine.config import ConfigDict
from mmengine.registry import MODELS
from mmseg.models.decode_heads import FCNHead
from mmseg.models.segmentors import EncoderDecoder as MMSegEncoderDecoder
from mmseg.structures import SegDataSample
from torch import nn

from mmwhitebox.errors import ConfigError
from mmwhitebox.models.segmentors import EncoderDecoder
from mmwhitebox.models.segmentors.logit_map import AxisMap, WindowRows, product, rounds_products, window_starts

CLASSES = 7
SLIDE = dict(mode='slide', crop_size=(32, 48), stride=(21, 32))
WHOLE = dict(mode='whole')


@MODELS.register_module(force=True)
class PatchConv(nn.Module):
    """A stem of patches, (B, 3, H, W) -> (B, 8, ceil(H / 8), ceil(W / 8)): the corners count, padded."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 8, 8)

    def forward(self, x):
        h, w = x.shape[2:]
        return (self.conv(F.pad(x, (0, -w % 8, 0, -h % 8))), )


@MODELS.register_module(force=True)
class OwnPredictHead(FCNHead):
    """A head that enlarges its logits in its own way."""

    def predict_by_feat(self, seg_logits, batch_img_metas):
        return super().predict_by_feat(seg_logits, batch_img_metas).square()


def build(test_cfg, kind='mmwhitebox.EncoderDecoder', align_corners=False, head='FCNHead', out_channels=CLASSES):
    num_classes = max(out_channels, 2)
    torch.manual_seed(3)
    model = MODELS.build(ConfigDict(
        type=kind,
        data_preprocessor=dict(type='SegDataPreProcessor', mean=[127.5] * 3, std=[50.] * 3, bgr_to_rgb=True,
                               test_cfg=dict(size_divisor=16)),
        backbone=dict(type='PatchConv'),
        decode_head=dict(
            type=head, in_channels=8, channels=8, num_convs=0, concat_input=False, num_classes=num_classes,
            out_channels=out_channels, threshold=0.45 if out_channels == 1 else None, align_corners=align_corners,
            loss_decode=dict(type='CrossEntropyLoss', use_sigmoid=out_channels == 1)),
        test_cfg=test_cfg))
    nn.init.normal_(model.decode_head.conv_seg.weight)
    return model.eval()


def batch(shape, ori_shapes, flips=(None, )):
    """Images of one size as the network gets them, each of another original size and flip."""
    torch.manual_seed(4)
    images = [torch.randint(0, 256, (3, *shape), dtype=torch.uint8) for _ in ori_shapes]
    flips = list(flips) * len(images)
    samples = [SegDataSample(metainfo=dict(
        img_shape=shape, ori_shape=ori, img_path=f'{i}.png',
        **(dict(flip=True, flip_direction=flips[i]) if flips[i] else {}))) for i, ori in enumerate(ori_shapes)]
    return dict(inputs=images, data_samples=samples)


def check(test_cfg, data, expected_cfg=None, **kwargs):
    """Labels and logits equal mmseg's; a label may differ only between classes that are equally likely."""
    reference = build({k: v for k, v in test_cfg.items() if k in SLIDE}, 'mmseg.EncoderDecoder', **kwargs)
    model = build({**test_cfg, 'keep_logits': True}, **kwargs)
    bare = build(test_cfg, **kwargs)
    with torch.no_grad():
        expected = reference.test_step(copy.deepcopy(data))
        found = model.test_step(copy.deepcopy(data))
        labels = bare.test_step(copy.deepcopy(data))
    assert len(found) == len(expected) == len(labels) == len(data['inputs'])
    for want, got, label in zip(expected, found, labels):
        assert got.pred_sem_seg.data.shape == want.pred_sem_seg.data.shape == label.pred_sem_seg.data.shape
        assert got.pred_sem_seg.data.dtype == label.pred_sem_seg.data.dtype == torch.int64
        torch.testing.assert_close(got.seg_logits.data, want.seg_logits.data, rtol=1e-5, atol=1e-5)
        assert 'seg_logits' not in label and torch.equal(got.pred_sem_seg.data, label.pred_sem_seg.data)
        differ = (got.pred_sem_seg.data != want.pred_sem_seg.data)[0]
        if want.seg_logits.data.shape[0] > 1:
            first, second = want.seg_logits.data.topk(2, dim=0).values
            assert (first - second)[differ].le(2e-5).all()
        assert differ.float().mean() <= 1e-3
    return found


@pytest.mark.parametrize('align_corners', [False, True])
@pytest.mark.parametrize('shape, ori_shape', [
    ((75, 101), (75, 101)),  # several windows, padded to 80 x 112
    ((75, 101), (180, 231)),
    ((75, 101), (40, 37)),
    ((20, 30), (41, 52)),  # smaller than a window
    ((20, 120), (20, 120)),  # in one dimension
    ((32, 48), (33, 47)),  # exactly one
])
@pytest.mark.parametrize('test_cfg', [SLIDE, {**SLIDE, 'stride': (32, 48)}, WHOLE], ids=['overlap', 'slide', 'whole'])
def test_equals_mmseg(test_cfg, shape, ori_shape, align_corners):
    check(test_cfg, batch(shape, [ori_shape]), align_corners=align_corners)


@pytest.mark.parametrize('flip', ['horizontal', 'vertical'])
@pytest.mark.parametrize('test_cfg', [SLIDE, WHOLE], ids=['slide', 'whole'])
def test_flips_are_undone_before_the_padding_moves(test_cfg, flip):
    check(test_cfg, batch((75, 101), [(120, 140)], [flip]))


@pytest.mark.parametrize('test_cfg', [SLIDE, WHOLE], ids=['slide', 'whole'])
@pytest.mark.parametrize('tile_size', [1, 16, 1000])
def test_batches_of_several_original_sizes_and_flips(test_cfg, tile_size):
    data = batch((44, 101), [(60, 140), (44, 101), (30, 20)], ['vertical', None, 'horizontal'])
    check({**test_cfg, 'tile_size': tile_size, 'batch_windows': 7}, data)


@pytest.mark.parametrize('test_cfg', [SLIDE, WHOLE], ids=['slide', 'whole'])
def test_one_channel(test_cfg):
    found = check(test_cfg, batch((75, 101), [(100, 140)]), out_channels=1)[0].pred_sem_seg.data
    assert found.unique().tolist() == [0, 1]


@pytest.mark.parametrize('test_cfg', [SLIDE, WHOLE], ids=['slide', 'whole'])
def test_a_head_with_its_own_prediction(test_cfg):
    check({**test_cfg, 'batch_windows': 5}, batch((75, 101), [(60, 140), (75, 101)]), head='OwnPredictHead')


def test_padding_on_all_sides_and_no_samples():
    model, reference = build({**SLIDE, 'keep_logits': True}), build(SLIDE, 'mmseg.EncoderDecoder')
    images = torch.randn(2, 3, 64, 96)
    sample = SegDataSample(metainfo=dict(img_shape=(50, 80), pad_shape=(64, 96), ori_shape=(77, 121),
                                         padding_size=[5, 11, 8, 6]))
    for samples in ([sample, sample], None):
        with torch.no_grad():
            want = reference(images, copy.deepcopy(samples), mode='predict')
            got = model(images, copy.deepcopy(samples), mode='predict')
        for a, b in zip(want, got):
            torch.testing.assert_close(b.seg_logits.data, a.seg_logits.data, rtol=1e-5, atol=1e-5)


def test_windows_run_in_batches_and_are_forgotten(monkeypatch):
    """A tall image: each window once, in batches of five, and never more rows of them held than a band needs."""
    model = build({**SLIDE, 'batch_windows': 5})
    sizes, progress, held = [], [], []
    model.backbone.register_forward_hook(lambda module, args, out: sizes.append(len(args[0])))
    model.on_windows = lambda done, total: progress.append((done, total))
    forget = WindowRows.forget

    def note_and_forget(windows, before):
        forget(windows, before)
        held.append(len(windows._held))

    monkeypatch.setattr(WindowRows, 'forget', note_and_forget)
    with torch.no_grad():
        result = model.test_step(batch((1000, 100), [(1000, 100)]))
    total = len(window_starts(1008, 32, 21)) * len(window_starts(112, 48, 32))
    assert result[0].pred_sem_seg.data.shape == (1, 1000, 100)
    assert sum(sizes) == total and max(sizes) == 5
    assert progress[-1] == (total, total) and len(progress) == len(sizes)
    assert max(held) < total / 4


def test_axis_map_is_a_partition_of_one():
    matrix = AxisMap(4, 32, 32, window_starts(75, 32, 21), 75, (3, 6), True, 130, False, 'cpu').matrix
    assert matrix.shape == (130, 16)
    torch.testing.assert_close(matrix.sum(1), torch.ones(130))


@pytest.mark.parametrize('setting', ['highest', 'medium'])
def test_products_are_exact_whatever_the_settings_are_and_leave_them(setting):
    a, b = torch.randn(64, 256), torch.randn(256, 64)
    before = torch.get_float32_matmul_precision()
    try:
        torch.set_float32_matmul_precision(setting)
        flags = torch.backends.mkldnn.matmul.fp32_precision, torch.backends.cuda.matmul.fp32_precision
        assert rounds_products(a.device) == (setting == 'medium')
        found = product(a, b)
        assert flags == (torch.backends.mkldnn.matmul.fp32_precision, torch.backends.cuda.matmul.fp32_precision)
    finally:
        torch.set_float32_matmul_precision(before)
    exact = torch.from_numpy(a.double().numpy() @ b.double().numpy()).float()
    torch.testing.assert_close(found, exact, rtol=1e-5, atol=1e-4)


def test_autocast_does_not_reach_the_interpolation():
    """Under autocast the logits are rounded once, by the network; tiles are made of them in float32."""
    model = build({**WHOLE, 'keep_logits': True})
    images = torch.randn(1, 3, 64, 64)
    with torch.no_grad(), torch.autocast('cpu', dtype=torch.bfloat16):
        low = model(images, mode='tensor')
        assert low.dtype == torch.bfloat16
        found = model(images, mode='predict')[0].seg_logits.data
    expected = F.interpolate(low.float(), (64, 64), mode='bilinear')[0]
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


def test_training_and_parameters_are_those_of_mmseg():
    model, reference = build(WHOLE), build(WHOLE, 'mmseg.EncoderDecoder')
    assert isinstance(model, MMSegEncoderDecoder)
    assert model.state_dict().keys() == reference.state_dict().keys()
    assert MODELS.get('mmwhitebox.EncoderDecoder') is EncoderDecoder
    assert MODELS.get('mmseg.EncoderDecoder') is MMSegEncoderDecoder


@pytest.mark.parametrize('test_cfg, message', [
    (dict(mode='slid'), r"test_cfg.mode='slid': it is one of \('whole', 'slide'\)"),
    (dict(mode=None), 'test_cfg.mode=None'),
    (dict(keep_logits='yes'), 'keep_logits'),
    (dict(enlarge='yes', crop_size=32), 'enlarge'),
    (dict(enlarge=True), 'needs crop_size for enlarge'),
    (dict(mode='slide', stride=8), 'needs crop_size for mode'),
    (dict(mode='slide', crop_size=8), 'needs stride'),
    (dict(SLIDE, crop_size=0), 'crop_size=0: it is a height and a width'),
    (dict(SLIDE, stride=(0, 8)), r'stride=\(0, 8\)'),
    (dict(SLIDE, stride=(8, 8, 8)), 'stride'),
    (dict(SLIDE, crop_size=32.), 'crop_size=32.0'),
    (dict(SLIDE, crop_size='32'), 'crop_size'),
    (dict(SLIDE, stride=(33, 32)), r'stride=\(33, 32\) exceeds crop_size=\(32, 48\)'),
    (dict(SLIDE, val=dict(stride=(21, 49))), r'its val.stride=\(21, 49\) exceeds'),
    (dict(SLIDE, batch_windows=0), 'batch_windows=0'),
    (dict(tile_size=-1), 'tile_size=-1')])
def test_options_that_would_fail_or_mislead_are_refused(test_cfg, message):
    """When the model is built, and where they were changed afterwards."""
    with pytest.raises(ConfigError, match=message) as found:
        build(test_cfg)
    assert '\n' not in str(found.value)
    model = build(WHOLE)
    model.test_cfg = ConfigDict(test_cfg)
    with pytest.raises(ConfigError, match=message):
        model(torch.randn(1, 3, 32, 32), mode='predict')


@pytest.mark.parametrize('classes', [dict(num_classes=1), dict(num_classes=2, out_channels=1)])
def test_a_mask_head_of_one_class_is_refused(classes):
    """mmseg's: its norm over a single class gives a constant, and it ignores out_channels."""
    head = dict(type='SegmenterMaskTransformerHead', in_channels=8, channels=8, embed_dims=8, num_layers=1, num_heads=2)
    with pytest.raises(ConfigError, match='num_classes=2'):
        MODELS.build(ConfigDict(type='mmwhitebox.EncoderDecoder', backbone=dict(type='PatchConv'),
                                decode_head=dict(head, **classes)))


def test_one_integer_is_a_square():
    images = torch.randn(1, 3, 64, 80)
    with torch.no_grad():
        found, expected = (build(dict(mode='slide', crop_size=crop, stride=stride, keep_logits=True))(
            images, mode='predict')[0].seg_logits.data for crop, stride in ((32, 24), ((32, 32), (24, 24))))
    assert torch.equal(found, expected)


def views():
    """Four views of two images."""
    found = [batch(shape, [(60, 90), (50, 40)], [flip, None]) for shape in ((44, 101), (30, 60))
             for flip in (None, 'horizontal')]
    return {key: [view[key] for view in found] for key in ('inputs', 'data_samples')}


@torch.no_grad()
def tta(kind, test_cfg, out_channels=CLASSES):
    module = build(test_cfg, kind.replace('SegTTAModel', 'EncoderDecoder'), out_channels=out_channels)
    return MODELS.build(dict(type=kind, module=module)).test_step(views())


@pytest.mark.parametrize('test_cfg', [SLIDE, WHOLE], ids=['slide', 'whole'])
def test_test_time_augmentation_equals_mmseg(test_cfg):
    found, expected = tta('mmwhitebox.SegTTAModel', {**test_cfg, 'tile_size': 24}), tta('mmseg.SegTTAModel', test_cfg)
    assert len(found) == len(expected) == 2
    for got, want in zip(found, expected):
        assert got.img_path == want.img_path and 'seg_logits' not in got
        assert got.pred_sem_seg.data.shape == want.pred_sem_seg.data.shape
        assert (got.pred_sem_seg.data != want.pred_sem_seg.data).float().mean() <= 1e-3


@torch.no_grad()
def test_test_time_augmentation_of_one_channel_is_the_mean_probability():
    found = tta('mmwhitebox.SegTTAModel', SLIDE, 1)
    module = build({**SLIDE, 'keep_logits': True}, out_channels=1)
    data = views()
    for i, got in enumerate(found):
        mean = sum(module.test_step(dict(inputs=inputs, data_samples=samples))[i].seg_logits.data
                   for inputs, samples in zip(data['inputs'], data['data_samples'])) / 4
        assert got.pred_sem_seg.data.unique().tolist() == [0, 1]
        assert (got.pred_sem_seg.data != (mean > module.decode_head.threshold)).float().mean() <= 1e-3


def test_test_time_augmentation_of_other_segmentors_is_that_of_mmseg():
    module = build(WHOLE, 'mmseg.EncoderDecoder')
    with torch.no_grad():
        found = MODELS.build(dict(type='mmwhitebox.SegTTAModel', module=module)).test_step(views())
    assert 'seg_logits' in found[0]
