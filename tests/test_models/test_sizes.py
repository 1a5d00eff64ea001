"""A size that is no positive integer is refused by the part it is given to, with its name and value."""
import pytest
from mmengine.config import Config

from mmwhitebox.models.attention import build_attention
from mmwhitebox.models.backbones import TimmViT, WhiteBoxTransformer
from mmwhitebox.models.decode_heads import WhiteBoxMaskHead
from mmwhitebox.models.feedforward import MLP
from mmwhitebox.registry import ATTENTIONS

ARCH = dict(WhiteBoxTransformer.arch_zoo['cbt-tiny'], num_layers=1)
HEAD = dict(in_channels=16, channels=16, num_classes=2, num_layers=1,
            attention=dict(type='MSSA', num_heads=2))


@pytest.mark.parametrize('key, value', [
    ('num_heads', 0), ('num_heads', -2), ('num_heads', 2.), ('embed_dims', 0), ('head_dims', 0), ('head_dims', -4)])
@pytest.mark.parametrize('name', sorted(ATTENTIONS.module_dict))
def test_attentions(name, key, value):
    with pytest.raises(ValueError, match=rf'{key}={value} must be a positive integer'):
        build_attention({**dict(type=name, embed_dims=8, num_heads=2), key: value})


@pytest.mark.parametrize('name', ['CBSA', 'Agent'])
def test_pools(name):
    with pytest.raises(ValueError, match='pool_size=0 must be a positive integer'):
        build_attention(dict(type=name, embed_dims=8, num_heads=2, pool_size=0))


@pytest.mark.parametrize('options, message', [
    (dict(arch=dict(ARCH, num_layers=0)), 'num_layers=0 must be a positive'),
    (dict(arch=dict(ARCH, num_layers=-1)), 'num_layers=-1 must be a positive'),
    (dict(arch=dict(ARCH, embed_dims=-8)), 'embed_dims=-8 must be a positive'),
    (dict(arch=dict(ARCH, num_heads=0)), 'num_heads=0 must be a positive'),
    (dict(arch=dict(ARCH, num_class_layers=-1)), 'num_class_layers=-1 must be an integer of 0 or more'),
    (dict(arch=ARCH, img_size=(64, 0)), r'img_size=\(64, 0\) must be a positive'),
    (dict(arch=ARCH, patch_size=0), 'patch_size=0 must be a positive'),
    (dict(arch=ARCH, in_channels=0), 'in_channels=0 must be a positive'),
    (dict(arch=ARCH, drop_path_rate=1.), r'drop_path_rate=1.0 is not in \[0, 1\)'),
])
def test_encoders(options, message):
    with pytest.raises(ValueError, match=f'WhiteBoxTransformer: {message}'):
        WhiteBoxTransformer(**{'img_size': 32, **options})


@pytest.mark.parametrize('options, message', [
    (dict(num_layers=0), 'num_layers=0 must be a positive'), (dict(channels=0), 'channels=0 must be a positive'),
    (dict(num_classes=0), 'num_classes=0 must be a positive'),
    (dict(class_attention=dict(type='MSCA', num_heads=2), num_class_layers=0), 'num_class_layers=0 must be a positive'),
    (dict(num_classes=1), "num_classes=1, and a mask normalised over one class is constant. Make the rest a class: "
     "num_classes=2, metainfo=dict"),
    (dict(num_classes=1, out_channels=1), 'num_classes=1, and a mask'),
])
def test_decoders(options, message):
    with pytest.raises(ValueError, match=f'WhiteBoxMaskHead: {message}'):
        WhiteBoxMaskHead(**{**HEAD, **options})
    WhiteBoxMaskHead(**HEAD)


def test_others():
    with pytest.raises(ValueError, match='MLP: ratio=0 leaves no hidden channel'):
        MLP(8, ratio=0)
    with pytest.raises(ValueError, match='TimmViT: in_channels=0 must be a positive integer'):
        TimmViT('vit_tiny_patch16_224', in_channels=0)


def test_sizes_of_a_config_are_those_of_python():
    WhiteBoxTransformer(**Config(dict(m=dict(arch=ARCH, img_size=[32, 48], patch_size=16))).m)
