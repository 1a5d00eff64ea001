"""WhiteBoxTransformer(arch='vit-*') with timm's weights computes what timm's model computes."""
import pytest
import timm
import torch
from safetensors.torch import save_file

from mmwhitebox.models.backbones import WhiteBoxTransformer
from tests.augreg import save_augreg

SIZE = dict(embed_dim=24, depth=2, num_heads=2)
ARCH = dict(WhiteBoxTransformer.arch_zoo['vit-tiny'], embed_dims=24, num_layers=2, num_heads=2)


def timm_vit(img_size, **kwargs):
    torch.manual_seed(1)
    return timm.create_model(
        'vit_tiny_patch16_224', img_size=img_size, num_classes=0, **SIZE, **kwargs).eval()


def build(path, **kwargs):
    model = WhiteBoxTransformer(**{'arch': ARCH, 'img_size': 64, 'pretrained': str(path), **kwargs})
    model.init_weights()
    return model.eval()


@pytest.fixture
def weights(tmp_path):
    path = tmp_path / 'vit.safetensors'
    save_file(timm_vit(64).state_dict(), path)
    return path


@torch.no_grad()
def test_tokens_are_timm_s(weights, tmp_path):
    vit, images = timm_vit(64), torch.randn(2, 3, 64, 64)
    expected = vit.forward_features(images)
    torch.testing.assert_close(build(weights)(images)[0], expected[:, 0])
    torch.testing.assert_close(build(weights, out_type='raw')(images)[0], expected)
    torch.save(vit.state_dict(), tmp_path / 'vit.pth')
    torch.testing.assert_close(build(tmp_path / 'vit.pth')(images)[0], expected[:, 0])


@torch.no_grad()
def test_an_augreg_archive(tmp_path):
    vit, images = timm_vit(64), torch.randn(2, 3, 64, 64)
    save_augreg(vit, tmp_path / 'vit.npz')
    torch.testing.assert_close(build(tmp_path / 'vit.npz')(images)[0], vit.forward_features(images)[:, 0])


@torch.no_grad()
def test_another_size_and_other_channels_as_timm_does_it(weights):
    vit = timm_vit((96, 64), in_chans=4, pretrained=True, pretrained_cfg_overlay=dict(file=str(weights)))
    images = torch.randn(1, 4, 96, 64)
    model = build(weights, img_size=(96, 64), in_channels=4)
    torch.testing.assert_close(model(images)[0], vit.forward_features(images)[:, 0])


@torch.no_grad()
@pytest.mark.parametrize('rule', ['bilinear', 'dino'])
def test_another_size_by_the_rule_of_the_model(weights, rule):
    table = timm_vit(64).pos_embed[:, 1:].unflatten(1, (4, 4)).permute(0, 3, 1, 2)
    how = dict(size=(6, 5), mode='bilinear')
    if rule == 'dino':
        how = dict(scale_factor=(6.1 / 4, 5.1 / 4), mode='bicubic')
    expected = torch.nn.functional.interpolate(table, **how).flatten(2).mT
    model = build(weights, img_size=(96, 80), interpolate_mode=rule)
    torch.testing.assert_close(model.pos_embed.table[:, 1:], expected)


@torch.no_grad()
def test_without_class_token_and_final_norm_their_weights_are_left_out(weights):
    model = build(weights, with_cls_token=False, final_norm=False, out_type='featmap')
    full = build(weights)
    assert torch.equal(model.pos_embed.table, full.pos_embed.table[:, 1:])
    assert torch.equal(model.layers[1].attn.qkv.weight, full.layers[1].attn.qkv.weight)


def test_other_archs_and_missing_files_are_errors(weights):
    with pytest.raises(ValueError, match="timm's weights of a ViT, which fit arch='vit-\\*' only"):
        WhiteBoxTransformer(arch='cbt-tiny', pretrained=str(weights))
    with pytest.raises(ValueError, match="arch='vit-"):
        WhiteBoxTransformer(arch='vit-tiny', attention=dict(type='CBSA'), pretrained=str(weights))
    with pytest.raises(FileNotFoundError, match="pretrained='nowhere.pth' is not a file"):
        build('nowhere.pth')
