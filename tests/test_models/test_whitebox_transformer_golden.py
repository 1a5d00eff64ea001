"""Whole encoders against the official implementations: CBT, the CRATE-CBT hybrid, CRATE, CRATE-alpha and ToST."""
import pytest
import torch
from mmengine.registry import init_default_scope
from mmpretrain.registry import MODELS

from mmwhitebox.checkpoints import convert_official
from mmwhitebox.models.backbones import WhiteBoxTransformer
from tests.golden import Golden, assert_close, form  # noqa: F401

CBSA = dict(type='CBSA', pool_tokens='official')
MSSA = dict(type='MSSA')

# case -> family of checkpoint keys, arch, layers, attention
CASES = {
    'cbt_model': ('cbt', 'cbt-tiny', 2, CBSA),
    'hybrid_model': ('cbt', 'crate-cbt-tiny', 4, [MSSA, MSSA, CBSA, CBSA]),
    'crate_model': ('crate', 'crate-tiny', 2, None),
    'crate_alpha_model': ('crate-alpha', 'crate-alpha-base', 2, None),
    'crate_alpha_jax': ('crate-alpha-jax', 'crate-alpha-base', 2, None),
    'tost_model': ('tost', 'tost-tiny', 2, None),
}
ALPHA = dict(img_size=56, patch_size=8)
OPTIONS = {'crate_alpha_model': ALPHA, 'crate_alpha_jax': dict(ALPHA, final_norm=dict(type='LN', eps=1e-6))}


def classifier(golden, case, **kwargs):
    family, arch, num_layers, attention = CASES[case]
    settings = dict(WhiteBoxTransformer.arch_zoo[arch], embed_dims=48, num_heads=3, num_layers=num_layers)
    init_default_scope('mmpretrain')
    model = MODELS.build(dict(
        type='ImageClassifier',
        backbone=dict(type='mmwhitebox.WhiteBoxTransformer', arch=settings, attention=attention, **kwargs),
        head=dict(type='LinearClsHead', num_classes=golden.outputs['logits'].shape[1], in_channels=48)))
    model.load_state_dict(convert_official(golden.params, family))
    return model.eval()


def pixels(u8):
    return (u8.float() / 255 - 0.5) / 0.5


@pytest.mark.parametrize('case', CASES)
@torch.no_grad()
def test_logits(case, form):  # noqa: F811
    golden = Golden(case)
    model = classifier(golden, case, **OPTIONS.get(case, {}))
    assert_close(model(pixels(golden.inputs['image_u8']), mode='tensor'), golden.outputs['logits'], 'logits')
    if 'image_rect_u8' in golden.inputs:
        logits = model(pixels(golden.inputs['image_rect_u8']), mode='tensor')
        assert_close(logits, golden.outputs['logits_rect'], 'logits_rect')


@torch.no_grad()
def test_a_position_table_of_another_grid_is_interpolated_when_it_is_loaded():
    golden = Golden('cbt_model')
    small, large = (classifier(golden, 'cbt_model', img_size=size).backbone for size in (224, 256))
    assert small.pos_embed.table.shape == (1, 197, 48) and large.pos_embed.table.shape == (1, 257, 48)
    torch.testing.assert_close(large.pos_embed((16, 16)), small.pos_embed((16, 16)))
    assert_close(small.pos_embed((14, 14)), golden.params['pos_embedding'])


@torch.no_grad()
def test_a_feature_map_model_takes_the_weights_of_a_classifier_and_leaves_its_class_token():
    golden = Golden('tost_model')
    backbone = classifier(golden, 'tost_model', out_type='featmap').backbone
    assert backbone.cls_token is None and len(backbone.class_layers) == 0
    raw = classifier(golden, 'tost_model', out_type='raw', out_indices=(0, 1)).backbone
    images = pixels(golden.inputs['image_rect_u8'])
    patches = backbone.layers[1](raw(images)[0], (6, 10))
    assert_close(backbone(images)[0].flatten(2).mT, backbone.norm(patches))
    assert raw(images)[1].shape == (1, 61, 48)


def test_without_class_token_its_row_of_the_position_table_is_cut():
    golden = Golden('crate_model')
    backbone = classifier(golden, 'crate_model', with_cls_token=False, out_type='featmap').backbone
    assert_close(backbone.pos_embed.table, golden.params['pos_embedding'][:, 1:])
