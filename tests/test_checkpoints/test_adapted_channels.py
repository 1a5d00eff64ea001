"""Weights for three channels in a model of others: adapted as timm does where a training starts, refused elsewhere."""
import pytest
import timm
import torch
from mmengine.config import ConfigDict
from mmengine.logging import MMLogger
from mmengine.registry import MODELS
from timm.models import adapt_input_conv

from mmwhitebox.checkpoints.fitting import first_convolution, fit
from mmwhitebox.checkpoints.loading import load_weights
from mmwhitebox.engine.hooks.initial_weights import CheckedPretrainedInit
from mmwhitebox.errors import CheckpointError
from mmwhitebox.models.backbones import WhiteBoxTransformer
from tests.test_engine.test_initial_weights import Lines

TINY = dict(embed_dim=24, depth=1, num_heads=2)


def white(channels=3, stem=None):
    arch = dict(WhiteBoxTransformer.arch_zoo['cbt-tiny'], embed_dims=16, num_heads=2, num_layers=1,
                **(dict(stem=stem) if stem else {}))
    return dict(type='mmwhitebox.WhiteBoxTransformer', img_size=32, in_channels=channels, out_type='featmap', arch=arch)


def with_timm(channels=3):
    return dict(type='mmwhitebox.TimmViT', model_name='vit_tiny_patch16_224', img_size=32, in_channels=channels,
                model_kwargs=TINY)


def with_resnet(channels=3):
    return dict(type='mmseg.ResNetV1c', depth=18, in_channels=channels, base_channels=8, stem_channels=8)


def segmentor(backbone, width):
    return MODELS.build(ConfigDict(
        type='mmwhitebox.EncoderDecoder', backbone=backbone, test_cfg=dict(mode='whole'),
        decode_head=dict(type='mmseg.FCNHead', in_channels=width, channels=8, num_classes=2, num_convs=1)))


ENCODERS = {
    'stem of convolutions': (white, 16, 'backbone.stem.stages.0.0.weight'),
    'patches': (lambda n=3: white(n, dict(type='PatchConv')), 16, 'backbone.stem.proj.weight'),
    'timm': (with_timm, 24, 'backbone.vit.patch_embed.proj.weight'),
    'ResNet': (with_resnet, 64, 'backbone.stem.0.weight'),
}


@pytest.mark.parametrize('channels', [1, 2, 4, 7])
@pytest.mark.parametrize('encoder', ENCODERS)
def test_the_first_convolution_is_timm_s(encoder, channels):
    make, width, key = ENCODERS[encoder]
    state = segmentor(make(), width).state_dict()
    model = segmentor(make(channels), width)
    assert first_convolution(model) == key
    found = fit(model, state, adapt_channels=True)
    assert found.exact and found.fraction == 1 and not found.resized
    assert torch.equal(found.state_dict[key], adapt_input_conv(channels, state[key]))
    assert all(torch.equal(found.state_dict[name], value) for name, value in state.items() if name != key)
    assert found.summary.startswith(f'adapted to the channels of the images as timm does: {key} ((')
    if channels == 1:  # by hand
        assert torch.allclose(found.state_dict[key][:, 0], state[key].sum(1))
    else:
        assert torch.allclose(found.state_dict[key][:, channels - 1], state[key][:, (channels - 1) % 3] * 3 / channels)
    refused = fit(model, state)
    assert not refused.exact and refused.reshaped[0].startswith(key) and not refused.adapted


def test_only_three_channels_are_adapted():
    state = segmentor(white(5), 16).state_dict()
    found = fit(segmentor(white(4), 16), state, adapt_channels=True)
    assert len(found.reshaped) == 1 and not found.adapted
    found = fit(segmentor(white(3), 16), state, adapt_channels=True)
    assert len(found.reshaped) == 1 and not found.adapted


def test_linear_stems_start_anew():
    linear = [segmentor(white(n, dict(type='LinearStem')), 16) for n in (3, 4)]
    found = fit(linear[1], linear[0].state_dict(), adapt_channels=True)
    assert found.reshaped and not found.adapted


def test_a_test_is_refused(tmp_path):
    torch.save(segmentor(white(), 16).state_dict(), tmp_path / 'w.pth')
    with pytest.raises(CheckpointError, match='keys of another shape: backbone.stem.stages.0.0.weight'):
        load_weights(segmentor(white(4), 16), tmp_path / 'w.pth')


@pytest.mark.parametrize('prefix', ['backbone.', None])
def test_init_cfg(prefix, tmp_path):
    state = segmentor(white(), 16).state_dict()
    torch.save(dict(state_dict=state, meta={}), tmp_path / 'w.pth')
    model = segmentor(white(4), 16)
    key = 'backbone.stem.stages.0.0.weight'
    CheckedPretrainedInit(checkpoint=str(tmp_path / 'w.pth'), prefix=prefix)(model.backbone if prefix else model)
    assert torch.equal(model.state_dict()[key], adapt_input_conv(4, state[key]))


def test_timm_s_weights_say_it(tmp_path):
    source = timm.create_model('vit_tiny_patch16_224', img_size=32, num_classes=0, **TINY)
    torch.save(source.state_dict(), tmp_path / 'w.pth')
    logger, lines = MMLogger.get_instance('channels'), Lines()
    logger.addHandler(lines)
    logger.setLevel('INFO')
    for channels in (3, 4):
        model = MODELS.build(dict(with_timm(channels), pretrained=str(tmp_path / 'w.pth')))
        model.init_weights()
        assert torch.equal(model.vit.patch_embed.proj.weight,
                           adapt_input_conv(channels, source.patch_embed.proj.weight))
    logger.removeHandler(lines)
    assert ['adapted to 4 channels' in line for line in lines.lines if 'loaded pretrained' in line] == [False, True]
