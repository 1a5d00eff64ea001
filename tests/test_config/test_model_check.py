"""A head that does not fit its backbone is named before training, in one line with the value to set."""
import pytest
from mmengine.config import ConfigDict
from mmengine.registry import MODELS, DefaultScope

from mmwhitebox.config.model_check import check_model
from mmwhitebox.errors import ConfigError
from mmwhitebox.models.backbones import WhiteBoxTransformer

WHITEBOX = dict(type='mmwhitebox.WhiteBoxTransformer', img_size=32, out_type='featmap',
                arch=dict(WhiteBoxTransformer.arch_zoo['cbt-tiny'], embed_dims=16, num_heads=2, num_layers=2))
TIMM = dict(type='mmwhitebox.TimmViT', model_name='vit_tiny_patch16_224', img_size=32,
            model_kwargs=dict(embed_dim=16, depth=2, num_heads=2))
FCN = dict(type='FCNHead', in_channels=16, channels=8, num_convs=1, concat_input=False, num_classes=3)


def check(backbone, head=None, **parts):
    check_model(MODELS.build(ConfigDict(
        type='EncoderDecoder', backbone=backbone, decode_head={**FCN, **(head or {})}, test_cfg=dict(mode='whole'),
        **parts)))


@pytest.mark.parametrize('backbone', [WHITEBOX, TIMM])
@pytest.mark.parametrize('head, message', [
    (dict(in_channels=192), r'^model.decode_head.in_channels: backbone gives 16 .*: set decode_head.in_channels=16.$'),
    (dict(in_index=1), r'^model.decode_head.in_index=1: \w+ gives 1 feature map, numbers 0 to 0 .*out_indices'),
    (dict(in_index=[0, 0], in_channels=[16, 8], input_transform='resize_concat'),
     r'backbone gives \[16, 16\] .*, the head takes 24: set decode_head.in_channels=\[16, 16\]'),
])
def test_a_head_that_does_not_fit(backbone, head, message):
    with pytest.raises(ConfigError, match=message) as caught:
        check(backbone, head)
    assert '\n' not in str(caught.value)


def test_every_head_is_looked_at():
    with pytest.raises(ConfigError, match='model.auxiliary_head.1.in_index=-3: .* gives 2 feature maps'):
        check({**WHITEBOX, 'out_indices': (0, 1)}, auxiliary_head=[FCN, dict(FCN, in_index=-3)])


def test_what_fits_passes():
    two = {**TIMM, 'out_indices': (0, 1)}
    check(two, dict(in_index=0), auxiliary_head=dict(FCN, in_index=-2))
    check(two, dict(in_index=[0, 1], in_channels=[16, 16], input_transform='resize_concat'))
    check(dict(type='ResNetV1c', depth=18), dict(in_channels=512))  # declares no channels
    check(WHITEBOX, data_preprocessor=dict(type='SegDataPreProcessor', mean=[1.], std=[1.]))


@pytest.mark.parametrize('options, message', [
    (dict(out_type='cls_token'), "out_type='cls_token': the head of a segmentor .*set backbone.out_type='featmap'"),
    (dict(in_channels=4), r'mean has 3 values and WhiteBoxTransformer takes images of 4 channels.*in_channels=3'),
])
def test_outputs_and_bands(options, message):
    with pytest.raises(ConfigError, match=message):
        check({**WHITEBOX, **options}, data_preprocessor=dict(type='SegDataPreProcessor', mean=[1.] * 3, std=[1.] * 3))


@pytest.mark.parametrize('options, head, message', [
    (dict(), 192, r'^model.head.in_channels: backbone gives 16 .*: set head.in_channels=16.$'),
    (dict(out_type='featmap'), 16, "a classifier without a neck takes one of \\('cls_token', 'avg_featmap'\\)"),
    (dict(), 16, None),
])
def test_classifiers(options, head, message):
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        model = MODELS.build(ConfigDict(
            type='ImageClassifier', backbone={**WHITEBOX, 'out_type': 'cls_token', **options},
            head=dict(type='LinearClsHead', num_classes=3, in_channels=head)))
    if message is None:
        check_model(model)
        return
    with pytest.raises(ConfigError, match=message):
        check_model(model)
