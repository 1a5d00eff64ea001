"""Official weights: golden outputs from the described config, exact round trips, and what is refused."""
import pytest
import torch
from mmengine.config import ConfigDict
from mmengine.registry import MODELS, init_default_scope
from mmseg.structures import SegDataSample

from mmwhitebox.checkpoints import (
    convert_checkpoint,
    convert_official,
    convert_to_official,
    describe_official,
)
from mmwhitebox.checkpoints.official.describe import default_scope
from mmwhitebox.checkpoints.official.keys import CLASSIFIERS, VITS
from mmwhitebox.errors import CheckpointError
from mmwhitebox.models.backbones import WhiteBoxTransformer
from tests.golden import Golden, assert_close

CLASSIFIER_CASES = {'cbt_model': ('cbt', None), 'hybrid_model': ('cbt', None), 'crate_model': ('crate', 3),
                    'crate_alpha_model': ('crate-alpha', 3), 'crate_alpha_jax': ('crate-alpha-jax', None),
                    'tost_model': ('tost', None)}
DECODER_CASES = {'cbt_decoder': 'cbt-decoder', 'depict_sa_decoder': 'depict', 'depict_ca_decoder': 'depict',
                 'segmenter_mask_decoder': 'segmenter', 'segmenter_linear_decoder': 'segmenter'}
ZOO = [(name, family) for name in WhiteBoxTransformer.arch_zoo for family in CLASSIFIERS
       if family not in VITS and not name.startswith('crate-cbt') and name.startswith(family.removesuffix('-jax'))
       and ('alpha' in name) == ('alpha' in family) and 'mae' not in name]


def official_weights(case):
    """Official state dict of a golden case; of a decoder, as a part of a whole model."""
    prefix = 'decoder.' if case in DECODER_CASES else ''
    return {f'{prefix}{key}': value for key, value in Golden(case).params.items()}


def build(config, family):
    init_default_scope(default_scope(family))
    return MODELS.build(config).eval()


def pixels(u8):
    return (u8.float() / 255 - 0.5) / 0.5


def assert_same(state_dict, expected):
    assert set(state_dict) == set(expected)
    for key, value in expected.items():
        assert torch.equal(state_dict[key], value) and state_dict[key].dtype == value.dtype, key


@pytest.mark.parametrize('case', CLASSIFIER_CASES)
@torch.no_grad()
def test_classifier_from_the_description_alone(case):
    golden = Golden(case)
    family, num_heads = CLASSIFIER_CASES[case]
    model = build(describe_official(golden.params, family, num_heads), family)
    model.load_state_dict(convert_official(golden.params, family))
    assert_close(model(pixels(golden.inputs['image_u8']), mode='tensor'), golden.outputs['logits'], 'logits')
    if 'image_rect_u8' in golden.inputs:
        logits = model(pixels(golden.inputs['image_rect_u8']), mode='tensor')
        assert_close(logits, golden.outputs['logits_rect'], 'logits_rect')


@pytest.mark.parametrize('case', ['segmenter_full', 'segmenter_full_pad'])
@torch.no_grad()
def test_segmentor_from_the_description_alone(case):
    golden = Golden(case)
    config = describe_official(golden.params, 'segmenter', 3)
    config.data_preprocessor.update(mean=[0.] * 3, std=[1.] * 3, bgr_to_rgb=False)  # they are normalised
    config.test_cfg = dict(mode='whole', keep_logits=True)
    model = build(config, 'segmenter')
    model.load_state_dict(convert_official(golden.params, 'segmenter'))
    shape = tuple(golden.inputs['im'].shape[2:])
    samples = [SegDataSample(metainfo=dict(ori_shape=shape, img_shape=shape, pad_shape=shape))
               for _ in golden.inputs['im']]
    results = model.test_step(dict(inputs=list(golden.inputs['im']), data_samples=samples))
    assert_close(torch.stack([r.seg_logits.data for r in results]), golden.outputs['logits'], 'logits')


@pytest.mark.parametrize('case', [*CLASSIFIER_CASES, *DECODER_CASES, 'segmenter_full'])
def test_round_trips_are_exact_to_the_bit(case):
    family = {**{name: family for name, (family, _) in CLASSIFIER_CASES.items()}, **DECODER_CASES}.get(
        case, 'segmenter')
    official = official_weights(case)
    ours = convert_official(official, family)
    back = convert_to_official(ours, family, 3)
    assert_same(back, {key: value for key, value in official.items() if not key.startswith('encoder.head')})
    assert_same(convert_official(back, family), ours)
    assert all(value.is_contiguous() for value in (*ours.values(), *back.values()))


@pytest.mark.parametrize('name, family', ZOO)
def test_published_encoders_are_recognised(name, family):
    """Width, depth, heads, patch, grid and classes are found for every size; heads need no help."""
    size = 192 if name.endswith('base') else 224
    dims = WhiteBoxTransformer.arch_zoo[name]['embed_dims']
    with torch.device('meta'):
        model = build(dict(
            type='ImageClassifier',
            backbone=dict(type='mmwhitebox.WhiteBoxTransformer', arch=name, img_size=size),
            head=dict(type='LinearClsHead', num_classes=1000, in_channels=dims)), family)
    official = convert_to_official(model.state_dict(), family, model.backbone.layers[0].attn.num_heads)
    found = describe_official(official, family)
    assert found.backbone.arch == name and found.backbone.patch_size == 16 and found.head.num_classes == 1000
    assert found.backbone.img_size == (224 if family == 'tost' else size)
    assert found.backbone.norm_cfg.eps == (1e-5 if family in ('cbt', 'crate') else 1e-6)
    if 'alpha' in family:
        assert found.backbone.final_norm.eps == (1e-6 if family.endswith('jax') else 1e-5)
        assert found.data_preprocessor.mean == [123.675, 116.28, 103.53]


def variant_of_the_cbsa_repository(attention, **backbone):
    init_default_scope('mmpretrain')
    return MODELS.build(dict(
        type='ImageClassifier',
        backbone=dict(
            type='mmwhitebox.WhiteBoxTransformer', img_size=64, attention=attention,
            arch=dict(WhiteBoxTransformer.arch_zoo['cbt-tiny'], embed_dims=48, num_heads=3, num_layers=2),
            **backbone),
        head=dict(type='LinearClsHead', num_classes=10, in_channels=48))).eval()


@pytest.mark.parametrize('attention, num_heads, family, options', [
    (dict(type='TSSA'), None, 'cbt', {}),
    (dict(type='MSSA'), 3, 'cbt', dict(patch_size=8)),
    (dict(type='MSSA', head_dims=20), 3, 'cbt', {}),
    ([dict(type='CBSA', pool_tokens='official'), dict(type='TSSA')], None, 'cbt', {}),
    (dict(type='MSSA', num_heads=1, out_proj=None), None, 'crate', dict(stem=dict(type='LinearStem'))),
])
@torch.no_grad()
def test_variants_of_one_skeleton(attention, num_heads, family, options):
    model = variant_of_the_cbsa_repository(attention, **options)
    official = convert_to_official(model.state_dict(), family)
    found = build(describe_official(official, family, num_heads), family)
    found.load_state_dict(convert_official(official, family))
    images = torch.randn(1, 3, 64, 64)
    assert torch.equal(found(images, mode='tensor'), model(images, mode='tensor'))
    kinds = [type(layer.attn).__name__ for layer in found.backbone.layers]
    expected = attention if isinstance(attention, list) else [attention] * 2
    assert kinds == [cfg['type'] for cfg in expected]


def segmentor(decode_head, model_name='vit_tiny_patch16_384', img_size=64, **model_kwargs):
    init_default_scope('mmseg')
    return MODELS.build(ConfigDict(
        type='EncoderDecoder',
        backbone=dict(type='mmwhitebox.TimmViT', model_name=model_name, img_size=img_size,
                      interpolate_mode='bilinear', norm_eps=1e-5, model_kwargs=model_kwargs),
        decode_head=decode_head, test_cfg=dict(mode='whole'))).eval()


def cbt_head(dims):
    return dict(type='mmwhitebox.WhiteBoxMaskHead', in_channels=dims, channels=dims, num_classes=150,
                num_layers=2, attention=dict(type='CBSA', num_heads=3, head_dims=100, pool_size=10))


@pytest.mark.parametrize('size, dims', [('tiny', 192), ('small', 384), ('base', 768), ('large', 1024)])
def test_published_vit_encoders_are_recognised(size, dims):
    with torch.device('meta'):
        official = convert_to_official(
            segmentor(cbt_head(dims), f'vit_{size}_patch16_384', 512).state_dict(), 'cbt-decoder')
    found = describe_official(official, 'cbt-decoder')
    assert found.backbone.model_name == f'vit_{size}_patch16_384' and 'model_kwargs' not in found.backbone
    assert found.backbone.img_size == 512 and found.data_preprocessor.size == (512, 512)
    assert found.decode_head.attention.pool_size == 10 and found.decode_head.num_classes == 150


@torch.no_grad()
def test_distilled_encoder():
    """Two extra tokens; ImageNet's statistics; the positions of the patches alone are resized."""
    model = segmentor(dict(type='FCNHead', in_channels=48, channels=48, num_classes=5, num_convs=0,
                           concat_input=False, dropout_ratio=0.), 'deit_small_distilled_patch16_224',
                      embed_dim=48, depth=2, num_heads=3)
    official = convert_to_official(model.state_dict(), 'segmenter')
    assert official['encoder.pos_embed'].shape == (1, 18, 48) and 'encoder.dist_token' in official
    official.update({'encoder.head.weight': torch.zeros(1000, 48),
                     'encoder.head_dist.bias': torch.zeros(1000)})
    config = describe_official(official, 'segmenter', 3)
    assert config.data_preprocessor.mean == [123.675, 116.28, 103.53]
    found = build(config, 'segmenter')
    found.load_state_dict(convert_official(official, 'segmenter'))
    images = torch.randn(1, 3, 80, 96)
    assert torch.equal(found(images), model(images))

    vit = found.backbone.vit
    tokens = vit._pos_embed(torch.zeros(1, 5, 6, 48))
    table = vit.pos_embed[:, 2:].mT.unflatten(2, (4, 4))
    resized = torch.nn.functional.interpolate(table, (5, 6), mode='bilinear').flatten(2).mT
    torch.testing.assert_close(tokens[:, 2:], resized)
    torch.testing.assert_close(tokens[:, 1:2], vit.dist_token + vit.pos_embed[:, 1:2])


@pytest.mark.parametrize('wrap', [
    lambda s: dict(epoch=3, arch='x', best_acc1=torch.tensor(1.), optimizer=dict(state={}),
                   state_dict={f'module.{k}': v for k, v in s.items()}),
    lambda s: dict(model=s, model_ema={'cls_token': torch.ones(1)}),
    lambda s: s,
])
def test_containers(wrap):
    official = official_weights('tost_model')
    assert_same(convert_official(wrap(official), 'tost'), convert_official(official, 'tost'))


def test_meta_says_what_the_weights_do_not():
    checkpoint, _ = convert_checkpoint(official_weights('hybrid_model'), 'cbt')
    meta = checkpoint['meta']
    assert meta['source_family'] == 'cbt' and meta['pool_tokens'] == 'official' and 'dataset_meta' not in meta
    assert meta['model']['backbone']['feedforward'] == dict(type='ISTA', eta=0.1, lam=0.1)
    assert type(meta['model']['backbone']) is dict
    assert 'pool_tokens' not in convert_checkpoint(official_weights('tost_model'), 'tost')[0]['meta']


@pytest.mark.parametrize('case, family, guess', [
    ('crate_model', 'cbt', 'It looks like the family crate'),
    ('cbt_model', 'crate', 'It looks like the family cbt'),
    ('cbt_model', 'tost', 'It looks like the family cbt'),
    ('tost_model', 'cbt', 'It looks like the family tost'),
    ('crate_alpha_model', 'crate', 'It looks like the family crate-alpha\\.'),
    ('crate_alpha_jax', 'crate-alpha', 'It looks like the family crate-alpha-jax'),
    ('crate_model', 'crate-alpha', 'It looks like the family crate\\.'),
    ('cbt_decoder', 'depict', 'It looks like the family cbt-decoder'),
    ('depict_ca_decoder', 'cbt-decoder', 'It looks like the family depict'),
    ('segmenter_full', 'cbt-decoder', 'It looks like the family segmenter'),
])
def test_another_family_is_named(case, family, guess):
    with pytest.raises(CheckpointError, match=guess):
        convert_official(official_weights(case), family)


def test_other_contents_are_named():
    ours = convert_official(official_weights('cbt_model'), 'cbt')
    with pytest.raises(CheckpointError, match='an mmwhitebox model, which needs no conversion'):
        convert_official(ours, 'cbt')
    with pytest.raises(CheckpointError, match='a timm ViT, the family vit, which TimmViT also loads'):
        convert_official({'blocks.0.attn.qkv.weight': torch.zeros(9, 3)}, 'cbt')
    with pytest.raises(CheckpointError, match='no state dict of an mmwhitebox model of the family tost'):
        convert_to_official(ours, 'tost')
    with pytest.raises(CheckpointError, match='holds no weights'):
        convert_official({}, 'cbt')
    with pytest.raises(CheckpointError, match='not tensors are epoch'):
        convert_official(dict(epoch=1), 'cbt')
    with pytest.raises(ValueError, match="Unknown family 'swin'. Families: cbt, crate"):
        convert_official(ours, 'swin')
    tost = convert_official(official_weights('tost_model'), 'tost')
    del tost['backbone.class_layers.0.attn.kv.weight']
    with pytest.raises(CheckpointError, match='lacks backbone.class_layers.0.attn.kv.weight'):
        convert_to_official(tost, 'tost')


@pytest.mark.parametrize('case, family, changes, message', [
    ('crate_model', 'crate', {}, 'no known model has the width 48: give num_heads'),
    ('cbt_model', 'cbt', dict(num_heads=4), 'have 3 heads, but num_heads=4 was given'),
    ('crate_model', 'crate', dict(num_heads=5), 'has 48 rows, which 5 heads do not divide'),
    ('cbt_model', 'cbt', {'mlp_head.1.weight': None}, 'lacks mlp_head.1.weight'),
    ('cbt_model', 'cbt', {'mlp_head.1.bias': None}, 'lacks mlp_head.1.bias'),
    ('cbt_model', 'cbt', {'transformer.layers.0.0.fn.to_out.bias': None}, 'lacks .*layers.0.0.fn.to_out'),
    ('cbt_model', 'cbt', {'transformer.layers.1.0.fn.proj.weight': None}, 'lacks .*layers.1.0.fn.proj'),
    ('cbt_model', 'cbt', {'transformer.layers.0.1.fn.weight': torch.zeros(48, 47)},
     r'transformer.layers.0.1.fn.weight of the shape \(48, 48\) \(it is \(48, 47\)\)'),
    ('cbt_model', 'cbt', {'pos_embedding': torch.zeros(1, 196, 48)}, '195 patches, which is no square'),
    ('cbt_model', 'cbt', {'cls_token': torch.zeros(1, 1, 40)}, r'cls_token of the shape \(1, 1, 48\)'),
    ('tost_model', 'tost', {'blocks.1.attn.temp': torch.zeros(4, 1)}, 'The weights have 3 and 4 heads'),
    ('segmenter_full', 'segmenter', {}, 'no known model has the width 48'),
    ('crate_alpha_model', 'crate-alpha', {}, 'no known model has the width 48: give num_heads'),
    ('crate_alpha_model', 'crate-alpha', {'num_heads': 3, 'transformer.layers.1.1.fn.D1': None},
     r'lacks transformer.layers.1.1.fn.D1'),
    ('crate_alpha_model', 'crate-alpha', {'num_heads': 3, 'transformer.layers.0.1.fn.D': torch.zeros(48, 100)},
     'has 100 atoms, which is no multiple of the width 48'),
    ('crate_alpha_jax', 'crate-alpha-jax', dict(num_heads=4), 'have 3 heads, but num_heads=4 was given'),
    ('crate_alpha_jax', 'crate-alpha-jax', {'params/head/bias': None}, 'lacks params/head/bias'),
    ('crate_alpha_jax', 'crate-alpha-jax', {'params/embedding/kernel': torch.zeros(48)},
     r'params/embedding/kernel has the shape \(48,\), which is none of the family crate-alpha-jax'),
])
def test_incomplete_weights_are_refused_by_name(case, family, changes, message):
    official = official_weights(case)
    num_heads = changes.pop('num_heads', None)
    official.update(changes)
    with pytest.raises(CheckpointError, match=message):
        convert_checkpoint({k: v for k, v in official.items() if v is not None}, family, num_heads)


def test_a_ratio_of_its_own_and_a_layout_with_heads():
    """The layout of JAX has an axis for the heads; ours needs to be told their number on the way back."""
    model = variant_of_the_cbsa_repository(
        dict(type='MSSA', out_bias=False, head_dims=20), feedforward=dict(type='ODL', ratio=2),
        stem=dict(type='PatchConv'), final_norm=dict(type='LN', eps=1e-6))
    for layer in model.backbone.layers:
        layer.norm1.eps = layer.norm2.eps = 1e-6
    with pytest.raises(CheckpointError, match='whose number is not in the weights: give num_heads'):
        convert_to_official(model.state_dict(), 'crate-alpha-jax')
    with pytest.raises(CheckpointError, match='has 60 dimensions, which 7 heads do not divide'):
        convert_to_official(model.state_dict(), 'crate-alpha-jax', 7)
    official = convert_to_official(model.state_dict(), 'crate-alpha-jax', 3)
    checkpoint, config = convert_checkpoint(official, 'crate-alpha-jax')
    assert config.backbone.feedforward.ratio == 2 and config.backbone.attention.head_dims == 20
    found = build(config, 'crate-alpha-jax')
    found.load_state_dict(checkpoint['state_dict'])
    images = torch.randn(1, 3, 64, 64)
    assert torch.equal(found(images, mode='tensor'), model(images, mode='tensor'))


def test_a_missing_layer_is_named():
    official = {key: value for key, value in official_weights('hybrid_model').items()
                if not key.startswith('transformer.layers.1.')}
    with pytest.raises(CheckpointError, match=r'lacks transformer.layers.1\.'):
        convert_checkpoint(official, 'cbt')


MAE_UNUSED = ('pos_embed', 'decoder_pos_embed', 'decoder_embed.weight', 'decoder_embed.bias')


@torch.no_grad()
def test_a_masked_autoencoder_from_the_description_alone():
    golden = Golden('crate_mae_model')
    checkpoint, config = convert_checkpoint(dict(model=golden.params), 'crate-mae', num_heads=3)
    assert config.backbone.img_size == 56 and 'dataset_meta' not in checkpoint['meta']
    model = build(config, 'crate-mae')
    model.load_state_dict(checkpoint['state_dict'])
    images, mask = pixels(golden.inputs['image_u8']), model.random_mask(golden.inputs['noise'])
    assert_close(model.predict_pixels(images, mask), golden.outputs['pred'], 'pred')
    back = convert_to_official(checkpoint['state_dict'], 'crate-mae')
    assert_same(back, {key: value for key, value in golden.params.items() if key not in MAE_UNUSED})


@pytest.mark.parametrize('size', ['tiny', 'small', 'base', 'large'])
def test_published_masked_autoencoders_are_recognised(size):
    with torch.device('meta'):
        model = build(dict(type='mmwhitebox.CRATEMAE', backbone=dict(
            type='mmwhitebox.WhiteBoxTransformer', arch=f'crate-mae-{size}')), 'crate-mae')
    official = convert_to_official(model.state_dict(), 'crate-mae')
    official['decoder_pos_embed'] = torch.zeros(1, 197, model.backbone.embed_dims)
    found = describe_official(official, 'crate-mae')
    assert found.backbone.arch == f'crate-mae-{size}' and found.neck.num_layers == model.backbone.num_layers


@pytest.mark.parametrize('changes, options, message', [
    ({}, {}, 'no known model has the width 48: give num_heads'),
    ({'decoder_blocks.1.layers.0.0.fn.weight': None}, dict(num_heads=3), 'lacks decoder_blocks.1.layers.0.0.fn.weight'),
    ({'blocks.0.layers.0.1.fn.weight': torch.zeros(48, 40)}, dict(num_heads=3), r'fn.weight of the shape \(48, 48\)'),
    ({}, dict(num_heads=3, img_size=(40, 80)), '--img-size 40 80 makes 5 x 10'),
])
def test_incomplete_masked_autoencoders_are_refused(changes, options, message):
    params = {key: value for key, value in {**Golden('crate_mae_model').params, **changes}.items() if value is not None}
    with pytest.raises(CheckpointError, match=message):
        convert_checkpoint(params, 'crate-mae', **options)


@pytest.mark.parametrize('case, family, guess', [
    ('crate_mae_model', 'crate', 'crate-mae'), ('crate_model', 'crate-mae', 'crate'),
    ('tost_model', 'crate-mae', 'tost')])
def test_a_masked_autoencoder_is_told_from_others(case, family, guess):
    with pytest.raises(CheckpointError, match=f'It looks like the family {guess}\\.'):
        convert_official(Golden(case).params, family)
