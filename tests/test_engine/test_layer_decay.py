"""Layer-wise learning-rate decay of mmseg's and mmpretrain's constructors: the learning rate of every parameter."""
import re

import pytest
from mmengine.config import ConfigDict
from mmengine.optim import build_optim_wrapper
from mmengine.registry import MODELS

from mmwhitebox.errors import ConfigError
from mmwhitebox.models.backbones import WhiteBoxTransformer

RATE, LR = 0.5, 1e-3
ENCODERS = dict(
    timm=dict(type='mmwhitebox.TimmViT', model_name='deit_tiny_distilled_patch16_224', img_size=32,
              model_kwargs=dict(embed_dim=16, depth=3, num_heads=2)),
    whitebox=dict(type='mmwhitebox.WhiteBoxTransformer', img_size=32, out_type='featmap',
                  arch=dict(WhiteBoxTransformer.arch_zoo['cbt-tiny'], embed_dims=16, num_heads=2, num_layers=3)),
    tost=dict(type='mmwhitebox.WhiteBoxTransformer', img_size=32, out_type='featmap',
              arch=dict(WhiteBoxTransformer.arch_zoo['tost-tiny'], embed_dims=16, num_heads=2, num_layers=3)),
    early=dict(type='mmwhitebox.WhiteBoxTransformer', img_size=32, out_type='featmap', out_indices=(1, ),
               arch=dict(WhiteBoxTransformer.arch_zoo['cbt-tiny'], embed_dims=16, num_heads=2, num_layers=3)))


def model(encoder, kind='mmwhitebox.EncoderDecoder'):
    return MODELS.build(ConfigDict(
        type=kind, backbone=ENCODERS[encoder],
        decode_head=dict(type='mmwhitebox.WhiteBoxMaskHead', in_channels=16, channels=16, num_classes=3, num_layers=1,
                         attention=dict(type='CBSA', num_heads=2, pool_size=2))))


def optimizer(net, constructor, **paramwise):
    return build_optim_wrapper(net, ConfigDict(
        type='OptimWrapper', optimizer=dict(type='AdamW', lr=LR, weight_decay=0.05), constructor=constructor,
        paramwise_cfg=paramwise)).optimizer


def expected_factor(name):
    """decay^(depths above): 3 layers, so the embeddings have 4 above them, layer i 3 - i, all else none."""
    layer = re.match(r'backbone\.(?:vit\.blocks|layers)\.(\d+)\.', name)
    if layer:
        return RATE**(3 - int(layer[1]))
    stem = re.match(r'backbone\.(vit\.(cls_token|dist_token|pos_embed|patch_embed)|stem|pos_embed|cls_token)', name)
    return RATE**4 if stem else 1.


@pytest.mark.parametrize('encoder', ENCODERS)
@pytest.mark.parametrize('constructor, paramwise', [
    ('LearningRateDecayOptimizerConstructor', dict(decay_rate=RATE, decay_type='layer_wise', num_layers=3)),
    ('LearningRateDecayOptimizerConstructor', dict(decay_rate=RATE)),
    ('mmwhitebox.LearningRateDecayOptimizerConstructor', dict(decay_rate=RATE)),
    ('LayerDecayOptimizerConstructor', dict(layer_decay_rate=RATE, num_layers=3)),
    ('mmpretrain.LearningRateDecayOptimWrapperConstructor', dict(layer_decay_rate=RATE)),
])
def test_the_learning_rate_of_every_parameter(encoder, constructor, paramwise):
    net = model(encoder)
    names = {id(value): name for name, value in net.named_parameters()}
    groups = optimizer(net, constructor, **paramwise).param_groups
    found = {names[id(value)]: group for group in groups for value in group['params']}
    assert found.keys() == set(names.values())
    for name, group in found.items():
        assert group['lr'] == pytest.approx(LR * expected_factor(name)), name
    assert len({group['lr'] for group in groups}) == (4 if encoder == 'early' else 5)


def test_weight_decay_spares_biases_norms_positions_and_tokens():
    net = model('whitebox', 'EncoderDecoder')  # mmseg's own segmentor
    names = {id(value): name for name, value in net.named_parameters()}
    groups = optimizer(net, 'LearningRateDecayOptimizerConstructor', decay_rate=RATE).param_groups
    decay = {names[id(value)]: group['weight_decay'] for group in groups for value in group['params']}
    assert decay['backbone.cls_token'] == decay['backbone.pos_embed.table'] == 0
    assert decay['backbone.layers.0.norm1.weight'] == decay['decode_head.mask_norm.bias'] == 0
    assert decay['backbone.layers.0.attn.to_out.weight'] == decay['decode_head.cls_tokens'] == 0.05


@pytest.mark.parametrize('paramwise, message', [
    (dict(decay_rate=RATE, num_layers=12), 'num_layers=12: WhiteBoxTransformer has 3 layers'),
    (dict(num_layers=3), 'decay_rate=None'),
    (dict(decay_rate=RATE, decay_type='stage_wise'), "decay_type='stage_wise'"),
])
def test_errors(paramwise, message):
    with pytest.raises(ConfigError, match=message):
        optimizer(model('whitebox'), 'LearningRateDecayOptimizerConstructor', **paramwise)
