"""Logits lie where their patches are, whatever padding, windows and patch are.

The network is analytic: the two channels of its logits are the row and the column of the middle of a patch, which it
reads off the patch's first pixel. Enlarged in the right place, linear interpolation gives every pixel its own row and
column, apart from the borders beyond the first and the last middle, where it stays at those.
"""
import numpy as np
import pytest
import torch
from mmengine.config import ConfigDict
from mmengine.registry import MODELS
from mmengine.structures import PixelData
from mmseg.models.decode_heads import FCNHead
from mmseg.structures import SegDataSample
from torch import nn

from mmwhitebox.apis.export import LogitsNetwork
from mmwhitebox.models.backbones import TimmViT, WhiteBoxTransformer
from tests.golden import Golden, assert_close


@MODELS.register_module(force=True)
class FirstPixels(nn.Module):
    """An encoder of patches P x P whose features are the first pixel of each, (B, 3, ceil(H / P), ceil(W / P))."""

    def __init__(self, patch):
        super().__init__()
        self.patch = patch

    def covered_size(self, size):
        return tuple(-(-pixels // self.patch) * self.patch for pixels in size)

    def forward(self, x):
        return (x[..., ::self.patch, ::self.patch], )


@MODELS.register_module(force=True)
class ItsOwnLossHead(FCNHead):
    def loss(self, *args):
        return super().loss(*args)


@MODELS.register_module(force=True)
class ItsOwnPredictionHead(FCNHead):
    def predict_by_feat(self, *args):
        return super().predict_by_feat(*args)


def coordinates(height, width):
    """An image whose channels are row, column and 1."""
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing='ij')
    return torch.stack([rows, columns, torch.ones_like(rows)]).float()


def middles(logits_head, patch):
    """Set the weights with which a head maps first pixels to the middle of the patch."""
    weight = torch.tensor([[1., 0, (patch - 1) / 2], [0, 1, (patch - 1) / 2]])
    nn.init.zeros_(logits_head.conv_seg.bias)
    logits_head.conv_seg.weight.data = weight[..., None, None]


def head(kind='FCNHead', **kwargs):
    return dict(type=kind, in_channels=3, channels=3, num_convs=0, concat_input=False, num_classes=2, dropout_ratio=0,
                loss_decode=dict(type='CrossEntropyLoss', use_sigmoid=False), **kwargs)


def build(patch, test_cfg, kind='FCNHead', size_divisor=None, auxiliary=(), **kwargs):
    model = MODELS.build(ConfigDict(
        type='mmwhitebox.EncoderDecoder',
        data_preprocessor=dict(type='SegDataPreProcessor', **(
            dict(test_cfg=dict(size_divisor=size_divisor)) if size_divisor else {})),
        backbone=dict(type='FirstPixels', patch=patch), decode_head=head(kind, **kwargs),
        auxiliary_head=[head(kind) for kind in auxiliary] or None, test_cfg=dict(test_cfg, keep_logits=True)))
    for part in (model.decode_head, *(model.auxiliary_head if auxiliary else ())):
        middles(part, patch)
    return model.eval()


def expected_axis(length, patch, crop, stride):
    """Logits along one dimension: of every window its pixels, held at the first and the last middle; their mean."""
    crop = min(crop, length)
    starts = sorted({min(start, length - crop) for start in range(0, length, stride)})
    total, count = np.zeros(length), np.zeros(length)
    for start in starts:
        last = start + (-(-crop // patch) - 1) * patch + (patch - 1) / 2
        total[start:start + crop] += np.clip(np.arange(start, start + crop), start + (patch - 1) / 2, last)
        count[start:start + crop] += 1
    return torch.from_numpy(total / count).float()


def samples_of(size):
    return [SegDataSample(metainfo=dict(ori_shape=size, img_shape=size))]


@pytest.mark.parametrize('kind', ['FCNHead', 'ItsOwnPredictionHead'])
@pytest.mark.parametrize('patch', [14, 16])
@pytest.mark.parametrize('crop, stride', [(None, None), (32, 32), (42, 42), (32, 21), (31, 17)])
@torch.no_grad()
def test_every_pixel_has_its_own_row_and_column(patch, crop, stride, kind):
    size = 57, 103
    windows = dict(mode='whole')
    if crop:
        windows = dict(mode='slide', crop_size=(crop, crop), stride=(stride, stride))
    model = build(patch, windows, kind)
    logits = model.test_step(dict(inputs=[coordinates(*size)], data_samples=samples_of(size)))[0].seg_logits.data
    rows, columns = (expected_axis(length, patch, crop or length, stride or length) for length in size)
    torch.testing.assert_close(logits[0], rows[:, None].expand(size), rtol=0, atol=1e-4)
    torch.testing.assert_close(logits[1], columns.expand(size), rtol=0, atol=1e-4)
    if crop is None and kind == 'FCNHead':
        torch.testing.assert_close(LogitsNetwork(model)(coordinates(*size)[None])[0], logits, rtol=0, atol=1e-4)
    metas = [dict(img_shape=size, ori_shape=size)]
    by_mmseg = model.inference(coordinates(*size)[None], metas)[0]
    torch.testing.assert_close(by_mmseg, logits, rtol=0, atol=1e-4)


@pytest.mark.parametrize('size_divisor', [4, 16, 32])
@torch.no_grad()
def test_padding_to_another_grid_moves_nothing(size_divisor):
    size = 57, 59  # the last patch begins in the image, padded or not
    model = build(14, dict(mode='whole'), size_divisor=size_divisor)
    logits = model.test_step(dict(inputs=[coordinates(*size)], data_samples=samples_of(size)))[0].seg_logits.data
    inside = slice(7, 56)
    expected = coordinates(*size)[:2, inside, inside]
    torch.testing.assert_close(logits[:, inside, inside], expected, rtol=0, atol=1e-4)


@torch.no_grad()
def test_views_of_a_flip_agree():
    """Of the mirrored image the padding lies at the other side."""
    size = 57, 59
    model = build(14, dict(mode='whole'))
    mirrored = samples_of(size)
    mirrored[0].set_metainfo(dict(flip=True, flip_direction='horizontal'))
    view = coordinates(*size).flip(2)
    logits = model.test_step(dict(inputs=[view], data_samples=mirrored))[0].seg_logits.data
    torch.testing.assert_close(logits[0, 7:56, 7:50], coordinates(*size)[0, 7:56, 7:50], rtol=0, atol=1e-4)


@pytest.mark.parametrize('kind', ['FCNHead', 'ItsOwnLossHead'])
@pytest.mark.parametrize('patch', [14, 16])
def test_loss_compares_a_label_with_the_logits_of_its_pixel(patch, kind):
    size = 57, 51
    labels = torch.randint(0, 2, (2, 1, *size))
    labels[0, 0, :9] = 255
    ignoring = dict(type='CrossEntropyLoss', use_sigmoid=False, avg_non_ignore=True)
    model = build(patch, dict(mode='whole'), kind, auxiliary=(kind, kind))
    for part in (model.decode_head, *model.auxiliary_head):
        part.loss_decode = MODELS.build(ignoring)
        part.conv_seg.bias.data[1] = 0.25  # no ties
    samples = [SegDataSample(gt_sem_seg=PixelData(data=label)) for label in labels]
    losses = model.loss(coordinates(*size)[None].expand(2, -1, -1, -1), samples)
    rows, columns = (expected_axis(length, patch, length, length) for length in size)
    logits = torch.stack([rows[:, None].expand(size), columns.expand(size) + 0.25]).expand(2, -1, -1, -1)
    expected = nn.functional.cross_entropy(logits, labels[:, 0], ignore_index=255)
    accuracy = 100 * (logits.argmax(1) == labels[:, 0])[labels[:, 0] != 255].float().mean()
    for name in ('decode', 'aux_0', 'aux_1'):
        torch.testing.assert_close(losses[f'{name}.loss_ce'], expected, rtol=1e-4, atol=0)
        torch.testing.assert_close(losses[f'{name}.acc_seg'].squeeze(), accuracy, rtol=1e-3, atol=0)
    assert samples[0].gt_sem_seg.shape == size


def test_mean_over_all_pixels_counts_those_of_the_image():
    """mmseg's default divides by ignored pixels too; padding is none of them."""
    size = 57, 51
    labels = torch.randint(0, 2, (1, *size))
    labels[0, :9] = 255
    model = build(14, dict(mode='whole'))
    loss = model.loss(coordinates(*size)[None], [SegDataSample(gt_sem_seg=PixelData(data=labels))])['decode.loss_ce']
    rows, columns = (expected_axis(length, 14, length, length) for length in size)
    logits = torch.stack([rows[:, None].expand(size), columns.expand(size)])[None]
    expected = nn.functional.cross_entropy(logits, labels, ignore_index=255, reduction='sum') / labels.numel()
    torch.testing.assert_close(loss, expected, rtol=1e-4, atol=0)


@pytest.mark.parametrize('size', [(70, 90), (64, 64), (57, 129)])
@torch.no_grad()
def test_encoders_declare_what_their_patches_cover(size):
    images = torch.randn(1, 3, *size)
    vit = TimmViT('vit_tiny_patch16_384', img_size=56,
                  model_kwargs=dict(patch_size=14, embed_dim=16, depth=1, num_heads=2))
    encoders = [(vit, 14)]
    for stem, patch in (('ConvStem', 8), ('LinearStem', 6), ('PatchConv', 14)):
        arch = dict(embed_dims=16, num_layers=1, num_heads=2, attention=dict(type='CBSA'),
                    feedforward=dict(type='ISTA'), stem=dict(type=stem))
        encoders.append((WhiteBoxTransformer(arch, img_size=56, patch_size=patch, out_type='featmap'), patch))
    for encoder, patch in encoders:
        covered = tuple(length * patch for length in encoder(images)[0].shape[2:])
        assert encoder.covered_size(size) == covered
        assert all(0 <= c - s < patch for c, s in zip(covered, size))


@torch.no_grad()
def test_other_encoders_are_taken_to_cover_the_image():
    """As in mmseg: three features of 51 pixels are stretched over them."""
    model = build(14, dict(mode='whole'))
    model.backbone.covered_size = None  # as if it had none
    logits = model(coordinates(51, 51)[None], mode='predict')[0].seg_logits.data
    features = model(coordinates(51, 51)[None], mode='tensor')
    torch.testing.assert_close(logits, nn.functional.interpolate(features, (51, 51), mode='bilinear')[0])


@torch.no_grad()
def test_export_of_the_published_model_on_a_padded_image():
    from mmwhitebox.checkpoints import convert_official, describe_official
    golden = Golden('segmenter_full_pad')
    config = describe_official(golden.params, 'segmenter', 3)
    model = MODELS.build(config).eval()
    model.load_state_dict(convert_official(golden.params, 'segmenter'))
    assert_close(LogitsNetwork(model)(golden.inputs['im']), golden.outputs['logits'], 'logits')
