"""Images of four bands: mean and std, a training step and a prediction with both encoders."""
import pytest
import torch
from mmengine.config import ConfigDict
from mmengine.registry import MODELS
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample

from mmwhitebox.errors import ConfigError
from mmwhitebox.models.backbones import WhiteBoxTransformer
from mmwhitebox.models.data_preprocessor import SegDataPreProcessor

MEAN, STD = [10., 20., 30., 40.], [1., 2., 3., 4.]
ENCODERS = dict(
    timm=dict(type='mmwhitebox.TimmViT', model_name='vit_tiny_patch16_224', img_size=32, in_channels=4,
              model_kwargs=dict(embed_dim=16, depth=1, num_heads=2)),
    whitebox=dict(type='mmwhitebox.WhiteBoxTransformer', img_size=32, in_channels=4, out_type='featmap',
                  arch=dict(WhiteBoxTransformer.arch_zoo['cbt-tiny'], embed_dims=16, num_heads=2, num_layers=1)))


def preprocessor(mean=MEAN, std=STD, **kwargs):
    return MODELS.build(dict(type='SegDataPreProcessor', mean=mean, std=std, size=(32, 32), **kwargs))


@pytest.mark.parametrize('encoder', ENCODERS)
def test_training_and_prediction(encoder):
    model = MODELS.build(ConfigDict(
        type='mmwhitebox.EncoderDecoder',
        data_preprocessor=dict(type='SegDataPreProcessor', mean=MEAN, std=STD, size=(32, 32)),
        backbone=ENCODERS[encoder],
        decode_head=dict(type='mmwhitebox.WhiteBoxMaskHead', in_channels=16, channels=16, num_classes=3, num_layers=1,
                         attention=dict(type='CBSA', num_heads=2, pool_size=2)),
        test_cfg=dict(mode='whole')))
    images = [torch.randint(0, 256, (4, 32, 32), dtype=torch.uint8) for _ in range(2)]
    labels = torch.randint(0, 3, (2, 1, 32, 32))
    samples = [SegDataSample(gt_sem_seg=PixelData(data=label), metainfo=dict(img_shape=(32, 32), ori_shape=(32, 32)))
               for label in labels]
    data = model.data_preprocessor(dict(inputs=images, data_samples=samples), training=True)
    model(**data, mode='loss')['decode.loss_ce'].backward()
    stem = model.backbone.vit.patch_embed.proj if encoder == 'timm' else model.backbone.stem.stages[0][0]
    assert stem.weight.grad[:, 3].any()
    result, = model.eval().test_step(dict(inputs=images[:1], data_samples=samples[:1]))
    assert result.pred_sem_seg.data.shape == (1, 32, 32)


def test_normalisation_by_band_and_no_turning_of_four_bands():
    image = torch.full((4, 32, 32), 50, dtype=torch.uint8)
    out = preprocessor(bgr_to_rgb=True)(dict(inputs=[image], data_samples=[SegDataSample()]))['inputs']
    torch.testing.assert_close(
        out[0, :, 0, 0], torch.tensor([40., 15., 20 / 3, 2.5]))


def test_three_bands_are_mmseg_s():
    image = torch.randint(0, 256, (3, 32, 32), dtype=torch.uint8)
    out = preprocessor(MEAN[:3], STD[:3], bgr_to_rgb=True)(dict(inputs=[image]))['inputs'][0]
    expected = (image.flip(0).float() - torch.tensor(MEAN[:3])[:, None, None]) / torch.tensor(STD[:3])[:, None, None]
    torch.testing.assert_close(out, expected)


def test_errors():
    with pytest.raises(ConfigError, match='one number for each band'):
        preprocessor(MEAN, STD[:3])
    with pytest.raises(ConfigError, match='one number for each band'):
        preprocessor(MEAN, None)
    with pytest.raises(ConfigError, match='images have 3 bands and data_preprocessor.mean and std 4 values'):
        preprocessor()(dict(inputs=[torch.zeros(3, 32, 32)]))


@pytest.mark.parametrize('mean, std', [([1.], [-1.]), ([1.], [float('nan')]), ([], []), ('abc', 'abc'), ([1.], [0.])])
def test_means_that_are_none(mean, std):
    with pytest.raises(ConfigError, match='one number for each band'):
        SegDataPreProcessor(mean=mean, std=std)


def test_one_number_for_all_bands():
    assert SegDataPreProcessor(mean=2., std=3.).std.flatten().tolist() == [3.]
