"""Decoders against the official implementations: masks and every gradient, square grids and others."""
import pytest
import torch
from mmengine.config import ConfigDict
from mmseg.models.decode_heads import FCNHead, SegmenterMaskTransformerHead
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample

from mmwhitebox.models.decode_heads import WhiteBoxMaskHead
from tests.golden import Golden, assert_close, check_gradients

DEPICT = dict(type='MSSA', num_heads=3, head_dims=100, out_proj='shared')


def whitebox_head(num_classes, attention, **kwargs):
    return WhiteBoxMaskHead(32, 32, num_classes=num_classes, num_layers=2, attention=attention, **kwargs)


def cbt_keys(state):
    """Our key -> official key, for the keys of the CBT and DEPICT decoders."""
    return {
        key: key.replace('cls_tokens', 'cls_emb').replace('layers.', 'net.layers.').replace('.attn.', '.fn.')
        for key in state
    }


def depict_keys(state):
    return {key: name.replace('.fn.proj.weight', '.fn.proj') for key, name in cbt_keys(state).items()}


def depict_ca_keys(state):
    names = {}
    for key, name in depict_keys(state).items():
        name = name.replace('class_net.layers', 'cnet.layers').replace('class_norm', 'cnorm')
        names[key] = name.replace('decoder_norm', 'snorm')
        if name.startswith('net.'):
            names[key] = 's' + name
    return names


WHITEBOX_CASES = {
    'cbt_decoder': (150, (16, 16), cbt_keys, lambda n: whitebox_head(
        n, dict(type='CBSA', num_heads=3, head_dims=100, pool_size=10))),
    'depict_sa_decoder': (7, (10, 10), depict_keys, lambda n: whitebox_head(n, DEPICT)),
    'depict_sa_decoder_rect': (7, (6, 11), depict_keys, lambda n: whitebox_head(n, DEPICT)),
    'depict_ca_decoder': (7, (9, 9), depict_ca_keys, lambda n: whitebox_head(
        n, DEPICT, class_attention=dict(type='MSCA', num_heads=3, head_dims=50), num_class_layers=3)),
}


@pytest.mark.parametrize('case', WHITEBOX_CASES)
def test_whitebox_mask_head(case):
    golden = Golden(case)
    num_classes, (h, w), official_keys, build = WHITEBOX_CASES[case]
    head = build(num_classes)
    keys = official_keys(head.state_dict())
    assert set(keys.values()) == set(golden.params)
    head.load_state_dict({ours: golden.params[name] for ours, name in keys.items()})
    x = golden.inputs['x'].requires_grad_()
    masks = head([x.transpose(1, 2).unflatten(2, (h, w))])
    assert_close(masks, golden.outputs['masks'], 'masks')
    check_gradients(golden, head, masks, x, lambda grads: {keys[k]: g for k, g in grads.items()})


BLOCK_KEYS = {
    'norm1': 'ln1', 'norm2': 'ln2', 'attn.qkv.weight': 'attn.attn.in_proj_weight',
    'attn.qkv.bias': 'attn.attn.in_proj_bias', 'attn.proj': 'attn.attn.out_proj',
    'mlp.fc1': 'ffn.layers.0.0', 'mlp.fc2': 'ffn.layers.1'
}


def segmenter_name(name):
    """Official key of the mask transformer -> key of mmseg's head."""
    if name.startswith('blocks.'):
        for official, ours in BLOCK_KEYS.items():
            name = name.replace(official, ours)
        return name.replace('blocks.', 'layers.')
    return {'proj_dec.weight': 'dec_proj.weight', 'proj_dec.bias': 'dec_proj.bias',
            'proj_patch': 'patch_proj.weight', 'proj_classes': 'classes_proj.weight'}.get(name, name)


def transpose_right_multiplied(name, value):
    """proj_patch and proj_classes multiply from the right; a Linear weight is their transpose."""
    return value.t() if name in ('proj_patch', 'proj_classes') else value


def segmenter_head(params):
    head = SegmenterMaskTransformerHead(
        in_channels=params['proj_dec.weight'].shape[1], channels=params['proj_dec.weight'].shape[0],
        embed_dims=params['proj_dec.weight'].shape[0], num_classes=7, num_layers=2,
        num_heads=4 if params['proj_dec.weight'].shape[0] == 32 else 3, drop_path_rate=0.,
        dropout_ratio=0.)
    head.load_state_dict(
        {segmenter_name(k): transpose_right_multiplied(k, v) for k, v in params.items()})
    return head.eval()


def test_segmenter_mask_decoder():
    golden = Golden('segmenter_mask_decoder')
    head = segmenter_head(golden.params)
    x = golden.inputs['x'].requires_grad_()
    masks = head([x.transpose(1, 2).unflatten(2, (6, 9))])
    assert_close(masks, golden.outputs['masks'], 'masks')
    names = {segmenter_name(k): k for k in golden.params}
    check_gradients(golden, head, masks, x, lambda grads: {
        names[k]: transpose_right_multiplied(names[k], g) for k, g in grads.items()})


def test_segmenter_linear_decoder():
    golden = Golden('segmenter_linear_decoder')
    head = FCNHead(
        in_channels=32, channels=32, num_classes=7, num_convs=0, concat_input=False, dropout_ratio=0.)
    head.load_state_dict({'conv_seg.weight': golden.params['head.weight'][..., None, None],
                          'conv_seg.bias': golden.params['head.bias']})
    x = golden.inputs['x'].requires_grad_()
    masks = head([x.transpose(1, 2).unflatten(2, (6, 9))])
    assert_close(masks, golden.outputs['masks'], 'masks')
    check_gradients(golden, head, masks, x, lambda grads: {
        'head.weight': grads['conv_seg.weight'][..., 0, 0], 'head.bias': grads['conv_seg.bias']})


@pytest.mark.parametrize('case', ['segmenter_full', 'segmenter_full_pad'])
def test_segmenter_with_a_timm_encoder(case):
    golden = Golden(case)
    model = MODELS.build(ConfigDict(
        type='EncoderDecoder',
        data_preprocessor=dict(type='SegDataPreProcessor', test_cfg=dict(size_divisor=16)),
        backbone=dict(
            type='mmwhitebox.TimmViT', model_name='vit_tiny_patch16_224', img_size=64, norm_eps=1e-5,
            interpolate_mode='bilinear', model_kwargs=dict(embed_dim=48, depth=2, num_heads=3)),
        decode_head=dict(
            type='SegmenterMaskTransformerHead', in_channels=48, channels=48, embed_dims=48, num_classes=7,
            num_layers=2, num_heads=3, drop_path_rate=0., dropout_ratio=0.),
        test_cfg=dict(mode='whole'))).eval()
    encoder = {k.removeprefix('encoder.'): v for k, v in golden.params.items()
               if k.startswith('encoder.') and not k.startswith('encoder.head')}
    decoder = {k.removeprefix('decoder.'): v for k, v in golden.params.items() if k.startswith('decoder.')}
    model.backbone.vit.load_state_dict(encoder)
    model.decode_head.load_state_dict(
        {segmenter_name(k): transpose_right_multiplied(k, v) for k, v in decoder.items()})
    images = golden.inputs['im']
    with torch.no_grad():
        results = model.test_step(dict(inputs=list(images), data_samples=[data_sample(im) for im in images]))
    logits = torch.stack([result.seg_logits.data for result in results])
    assert_close(logits, golden.outputs['logits'], 'logits')


def data_sample(image):
    shape = tuple(image.shape[1:])
    return SegDataSample(metainfo=dict(ori_shape=shape, img_shape=shape, pad_shape=shape))
