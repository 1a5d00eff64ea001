"""ViTs in the layouts of timm, DINO, DINOv2, DINOv3 and the CBSA repository: what is built computes what timm computes.

The files are made of timm's own models, their keys renamed to those that the official codes write.
"""
import re

import pytest
import timm
import torch
from mmengine.registry import MODELS, init_default_scope

from mmwhitebox.checkpoints import convert_checkpoint, convert_to_official
from mmwhitebox.errors import CheckpointError
from mmwhitebox.models.backbones import TimmViT

TINY = dict(embed_dim=192, depth=2, num_heads=3)


def randomised(name, **options):
    """A timm model none of whose values is a constant."""
    torch.manual_seed(0)
    model = timm.create_model(name, **options).eval()
    for value in model.parameters():
        torch.nn.init.normal_(value, std=0.1)
    return model


def build(config):
    init_default_scope('mmpretrain')
    return MODELS.build(config).eval()


def converted(official, family='vit', **options):
    checkpoint, config = convert_checkpoint(official, family, **options)
    model = build(config)
    model.load_state_dict(checkpoint['state_dict'])
    return model, config, checkpoint


def class_token(vit, images):
    return vit.forward_features(images)[:, 0]


def dinov2_layout(vit, registers):
    state = dict(vit.state_dict())
    state['mask_token'] = torch.zeros(1, 192)
    if registers:
        state['register_tokens'] = state.pop('reg_token')
        row = torch.randn(1, 1, 192)
        state['cls_token'], state['pos_embed'] = state['cls_token'] - row, torch.cat([row, state['pos_embed']], 1)
    return state


def dinov3_layout(vit):
    def official(key):
        for pattern, name in ((r'^reg_token$', 'storage_tokens'), (r'\.gamma_(\d)$', r'.ls\1.gamma'),
                              (r'\.fc1_g\.', '.w1.'), (r'\.fc1_x\.', '.w2.')):
            key = re.sub(pattern, name, key)
        return key.replace('.fc2.', '.w3.') if 'blocks.0.mlp.fc1_g.weight' in vit.state_dict() else key

    state = {official(key): value for key, value in vit.state_dict().items() if not key.endswith('_bias')}
    for key, q in vit.state_dict().items():
        if key.endswith('q_bias'):
            v = vit.state_dict()[key.replace('q_bias', 'v_bias')]
            state[key.replace('q_bias', 'qkv.bias')] = torch.cat([q, torch.full_like(q, 7.), v])
    for i in range(len(vit.blocks)):
        state.setdefault(f'blocks.{i}.attn.qkv.bias', torch.zeros(3 * vit.embed_dim))
        state[f'blocks.{i}.attn.qkv.bias_mask'] = torch.full((3 * vit.embed_dim, ), torch.nan)
    state['rope_embed.periods'], state['mask_token'] = torch.ones(16), torch.zeros(1, vit.embed_dim)
    return state


@pytest.mark.parametrize('registers', [False, True])
@torch.no_grad()
def test_dinov2_and_what_a_training_of_it_stores(registers):
    name = f'vit_small_patch14_{"reg4_" if registers else ""}dinov2'
    vit = randomised(name, img_size=56, num_classes=0, **TINY)
    state = dinov2_layout(vit, registers)
    chunked = {'backbone.' + re.sub(r'^blocks\.', 'blocks.0.', key): value for key, value in state.items()}
    chunked['dino_head.mlp.0.weight'] = torch.zeros(2, 2)
    images = torch.randn(2, 3, 56, 56)
    for official in (state, dict(teacher=chunked, iteration=3)):
        model, config, _ = converted(official)
        assert 'head' not in config and config.backbone.img_size == 56 and config.backbone.model_name == name
        torch.testing.assert_close(model.backbone(images)[0], class_token(vit, images), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize('name', ['vit_small_patch16_dinov3', 'vit_small_patch16_dinov3_qkvb',
                                  'vit_small_plus_patch16_dinov3'])
@torch.no_grad()
def test_dinov3(name):
    vit = randomised(name, num_classes=0, depth=2)
    model, config, _ = converted(dinov3_layout(vit))
    assert config.backbone.model_name == name and config.backbone.img_size == 256
    images = torch.randn(1, 3, 64, 96)
    torch.testing.assert_close(model.backbone(images)[0], class_token(vit, images), rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_dino_and_simdino():
    """A whole training of DINO: student, teacher, prefixes of data-parallel training, the teacher's projection head."""
    vit = randomised('vit_tiny_patch16_224', img_size=32, num_classes=0, patch_size=8, **TINY)
    teacher = {f'module.backbone.{key}': value for key, value in vit.state_dict().items()}
    teacher['module.head.mlp.0.weight'] = torch.zeros(4, 192)
    model, config, _ = converted(dict(student={}, teacher=teacher, epoch=1))
    assert config.backbone.interpolate_mode == 'dino' and config.backbone.model_kwargs.patch_size == 8
    assert config.data_preprocessor.mean == [123.675, 116.28, 103.53]
    images = torch.randn(2, 3, 32, 32)
    torch.testing.assert_close(model.backbone(images)[0], class_token(vit, images), rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_a_vit_with_its_head_and_the_same_adapted():
    vit = randomised('vit_tiny_patch16_224', img_size=(32, 64), num_classes=7, **TINY)
    official = dict(state_dict={f'module.{key}': value for key, value in vit.state_dict().items()}, best_acc1=1.)
    images = torch.randn(2, 3, 32, 64)
    plain, config, checkpoint = converted(official, img_size=(32, 64))
    assert config.head.num_classes == 7 and 'attention' not in config.backbone
    torch.testing.assert_close(plain(images, mode='tensor'), vit(images), rtol=1e-4, atol=1e-5)
    back = convert_to_official(checkpoint['state_dict'], 'vit')
    assert set(back) == set(vit.state_dict()) and all(torch.equal(back[key], vit.state_dict()[key]) for key in back)

    adapted, config, _ = converted(official, 'vit-cbsa', img_size=(32, 64))
    assert (config.backbone.attention, config.backbone.pool_tokens) == ('agent', 'official')
    backbone = TimmViT('vit_tiny_patch16_224', (32, 64), out_type='cls_token', attention='agent',
                       pool_tokens='official', model_kwargs=TINY).eval()
    backbone.vit.load_state_dict({key: value for key, value in vit.state_dict().items() if 'head' not in key})
    torch.testing.assert_close(adapted(images, mode='tensor'), vit.head(backbone(images)[0]))
    assert not torch.allclose(adapted(images, mode='tensor'), vit(images))


def test_what_is_no_vit_is_said():
    xcit = {'blocks.0.attn.qkv.weight': torch.zeros(9, 3), 'blocks.0.attn.temperature': torch.ones(3, 1, 1),
            'pos_embeder.token_projection.weight': torch.zeros(3, 64, 1, 1), 'cls_attn_blocks.0.gamma1': torch.ones(3)}
    with pytest.raises(CheckpointError, match='It looks like an XCiT, whose attention .* timm builds it as xcit_'):
        convert_checkpoint(xcit, 'tost')
    vit = randomised('vit_tiny_patch16_224', img_size=32, num_classes=0, **TINY).state_dict()
    with pytest.raises(CheckpointError, match='It looks like a timm ViT, the family vit'):
        convert_checkpoint({f'backbone.{key}': value for key, value in vit.items()}, 'cbt')
    with pytest.raises(CheckpointError, match='lacks blocks.1.attn.proj.bias'):
        convert_checkpoint({key: value for key, value in vit.items() if key != 'blocks.1.attn.proj.bias'}, 'vit')
    v3 = {'cls_token': torch.zeros(1, 1, 100), 'storage_tokens': torch.zeros(1, 4, 100),
          'patch_embed.proj.weight': torch.zeros(100, 3, 16, 16)}
    with pytest.raises(CheckpointError, match='the width 100, which no DINOv3 of timm has'):
        convert_checkpoint(v3, 'vit')
