"""CRATE-MAE against the official implementation: the decoder layer and its gradients, then the whole model."""
import pytest
import torch

from mmwhitebox.checkpoints import convert_official
from mmwhitebox.models.backbones import WhiteBoxTransformer
from mmwhitebox.models.layers import TransposedLayer
from mmwhitebox.models.selfsup import CRATEMAE
from tests.golden import Golden, assert_close, check_gradients, form  # noqa: F401

LAYER = 'layers.0.'
KEYS = {'norm1.': '0.norm.', 'ffn.weight': '0.fn.weight', 'norm2.': '1.norm.', 'attn.proj.weight': '1.fn.qkv.weight',
        'attn.to_out.': '1.fn.to_out.0.'}


def official(name):
    ours = next(prefix for prefix in KEYS if name.startswith(prefix))
    return LAYER + KEYS[ours] + name.removeprefix(ours)


def pixels(u8):
    return (u8.float() / 255 - 0.5) / 0.5


@pytest.fixture
def golden():
    return Golden('crate_mae_model')


def small(**options):
    arch = dict(WhiteBoxTransformer.arch_zoo['crate-mae-base'], embed_dims=48, num_heads=3, num_layers=2)
    return CRATEMAE(dict(type='mmwhitebox.WhiteBoxTransformer', arch=arch, img_size=56, patch_size=8), **options)


def test_decoder_layer(form):  # noqa: F811
    case = Golden('crate_mae_decoder_layer')
    layer = TransposedLayer(48, 3, dict(type='MSSA'), dict(type='DictionaryMap'), dict(type='LN', eps=1e-5))
    layer.load_state_dict({name: case.params[official(name)] for name in layer.state_dict()})
    x = case.inputs['x'].requires_grad_()
    y = layer(x, (5, 5))
    assert_close(y, case.outputs['y'], 'y')
    check_gradients(case, layer, y, x, lambda grads: {official(name): grad for name, grad in grads.items()})


def test_model(golden, form):  # noqa: F811
    model = small().eval()
    model.load_state_dict(convert_official(golden.params, 'crate-mae'))
    images = pixels(golden.inputs['image_u8'])
    mask = model.random_mask(golden.inputs['noise'])
    assert torch.equal(mask, golden.outputs['mask'].bool())
    tokens, = model.backbone(images, mask, model.mask_token)
    pred = model.predict_pixels(images, mask)
    assert_close(tokens, golden.outputs['latent'], 'latent')
    assert_close(pred, golden.outputs['pred'], 'pred')
    assert_close(model.head.loss(pred, images, mask.float()), golden.outputs['loss'], 'loss')
    whole, = model.backbone(images, torch.zeros_like(mask), model.mask_token)
    assert_close(whole, golden.outputs['features_unmasked'], 'features of the whole image')
    assert_close(model.extract_feat(images)[0], golden.outputs['features_unmasked'][:, 0])
    assert_close(model.backbone.pos_embed.table, golden.params['decoder_pos_embed'], 'positions')
