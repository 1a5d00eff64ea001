"""TimmViT: feature maps of any plain timm ViT, weights from files, freezing, and clear errors."""
import pytest
import timm
import torch
from safetensors.torch import save_file

from mmwhitebox.errors import CheckpointError
from mmwhitebox.models.backbones import TimmViT
from tests.augreg import save_augreg

TINY = dict(embed_dim=24, depth=2, num_heads=2)

FAMILIES = {  # name -> extra arguments that make it small
    'vit_tiny_patch16_224.augreg_in21k': TINY,
    'deit_tiny_distilled_patch16_224': TINY,
    'deit3_small_patch16_224': TINY,
    'vit_small_patch14_dinov2': TINY,
    'vit_small_patch14_reg4_dinov2': TINY,
    'vit_small_patch16_dinov3': dict(embed_dim=24, depth=2, num_heads=2),
    'eva02_tiny_patch14_224': dict(embed_dim=24, depth=2, num_heads=2),
    'vit_base_patch16_siglip_224': TINY,
}


def build(**kwargs):
    return TimmViT(**{'model_name': 'vit_tiny_patch16_224', 'img_size': 64, 'model_kwargs': TINY, **kwargs})


@pytest.mark.parametrize('name', FAMILIES)
def test_families_give_maps_at_any_size(name):
    model = TimmViT(model_name=name, model_kwargs=FAMILIES[name], out_indices=(0, 1))
    p = model.patch_size[0]
    maps = model(torch.randn(2, 3, 2 * p + 3, 4 * p))  # the height is padded to 3 patches
    assert [tuple(m.shape) for m in maps] == [(2, 24, 3, 4)] * 2
    sum(m.square().sum() for m in maps).backward()
    lacking = [key for key, value in model.named_parameters() if value.grad is None]
    assert not lacking


def test_last_map_is_timm_s_own_output():
    model = build().eval()
    reference = timm.create_model('vit_tiny_patch16_224', img_size=64, num_classes=0, **TINY).eval()
    reference.load_state_dict(model.vit.state_dict())
    x = torch.randn(1, 3, 64, 64)
    tokens = reference.forward_features(x)[:, 1:]
    torch.testing.assert_close(model(x)[0], tokens.transpose(1, 2).unflatten(2, (4, 4)))


def test_blocks_behind_the_last_output_are_not_kept():
    assert len(build(out_indices=(0, )).vit.blocks) == 1


@pytest.mark.parametrize('suffix', ['.safetensors', '.pth'])
def test_pretrained_from_a_file_resizes_positions_and_adapts_channels(tmp_path, suffix):
    torch.manual_seed(1)
    source = timm.create_model('vit_tiny_patch16_224', img_size=96, num_classes=5, **TINY)
    path = tmp_path / f'weights{suffix}'
    save_file(source.state_dict(), path) if suffix == '.safetensors' else torch.save(source.state_dict(), path)
    same = build(img_size=96, pretrained=str(path))
    same.init_weights()
    own = same.vit.state_dict()
    assert all(torch.equal(value, source.state_dict()[key]) for key, value in own.items())
    other = build(pretrained=str(path), in_channels=4)
    other.init_weights()
    assert other.vit.pos_embed.shape == (1, 17, 24)
    assert other.vit.patch_embed.proj.weight.shape[1] == 4
    assert torch.equal(other.vit.blocks[0].attn.qkv.weight, source.blocks[0].attn.qkv.weight)


def test_pretrained_from_an_augreg_archive(tmp_path):
    source = timm.create_model('vit_tiny_patch16_224', img_size=64, num_classes=0, **TINY)
    path = tmp_path / 'weights.npz'
    save_augreg(source, path)
    model = build(pretrained=str(path))
    model.init_weights()
    for key, value in model.vit.state_dict().items():
        torch.testing.assert_close(value, source.state_dict()[key], msg=key)


@pytest.mark.parametrize('rule', ['bilinear', 'dino'])
@pytest.mark.parametrize('suffix', ['.safetensors', '.npz'])
def test_pretrained_positions_are_fitted_by_the_rule_of_the_model(tmp_path, suffix, rule):
    """A table of 6 x 6 in a file, a model of 4 x 4 that is by default one of 14 x 14: one step, by the rule."""
    source = timm.create_model('vit_tiny_patch16_224', img_size=96, num_classes=0, **TINY)
    path = tmp_path / f'weights{suffix}'
    save_file(source.state_dict(), path) if suffix == '.safetensors' else save_augreg(source, path)
    model = build(pretrained=str(path), interpolate_mode=rule)
    model.init_weights()
    table = source.pos_embed[:, 1:].unflatten(1, (6, 6)).permute(0, 3, 1, 2)
    how = dict(scale_factor=4.1 / 6, mode='bicubic') if rule == 'dino' else dict(size=4, mode='bilinear')
    expected = torch.nn.functional.interpolate(table, **how).flatten(2).mT
    torch.testing.assert_close(model.vit.pos_embed, torch.cat([source.pos_embed[:, :1], expected], 1))
    torch.testing.assert_close(model.vit.blocks[1].mlp.fc1.weight, source.blocks[1].mlp.fc1.weight)


@pytest.mark.parametrize('attention', [None, 'agent'])
def test_positions_of_an_image_are_fitted_by_the_rule_of_the_model(attention):
    model = build(interpolate_mode='dino', attention=attention, norm_eps=1e-5).eval()
    other = build(img_size=(80, 48), interpolate_mode='dino', attention=attention, norm_eps=1e-5).eval()
    table = model.vit.pos_embed[:, 1:].unflatten(1, (4, 4)).permute(0, 3, 1, 2)
    resized = torch.nn.functional.interpolate(table, scale_factor=(5.1 / 4, 3.1 / 4), mode='bicubic').flatten(2).mT
    weights = dict(model.vit.state_dict(), pos_embed=torch.cat([model.vit.pos_embed[:, :1], resized], 1))
    other.vit.load_state_dict(weights)
    images = torch.randn(1, 3, 80, 48)
    torch.testing.assert_close(model(images)[0], other(images)[0])


def test_frozen_stages():
    model = build(frozen_stages=1, drop_path_rate=0.1).train()
    trained = {key.split('.')[0] + key[6:8] if key.startswith('blocks') else key.split('.')[0]
               for key, value in model.vit.named_parameters() if value.requires_grad}
    assert trained == {'blocks.1', 'norm'}
    assert not model.vit.blocks[0].training and model.vit.blocks[1].training


def test_checkpointing_gives_the_same_gradients():
    plain, saving = build(), build(with_cp=True)
    saving.load_state_dict(plain.state_dict())
    x = torch.randn(1, 3, 64, 64)
    for model in (plain, saving):
        model.train()(x)[0].square().sum().backward()
    for (key, a), b in zip(plain.named_parameters(), saving.parameters()):
        torch.testing.assert_close(a.grad, b.grad, msg=key)


@pytest.mark.parametrize('kwargs, message', [
    (dict(model_name='vit_smal_patch16_384'), "no model 'vit_smal_patch16_384'. Similar: .*vit_small_patch16_384"),
    (dict(model_name='resnet18', model_kwargs={}, img_size=None), 'resnet18 cannot be built as a plain ViT'),
    (dict(out_indices=(5, )), r'out_indices=\[5\] do not fit .* 2 blocks'),
    (dict(interpolate_mode='nearest'), "must be one of .* got 'nearest'"),
    (dict(model_name='vit_small_patch14_reg4_dinov2', interpolate_mode='bilinear', img_size=56),
     'does not apply to vit_small_patch14_reg4_dinov2'),
])
def test_errors(kwargs, message):
    with pytest.raises(ValueError, match=message):
        build(**kwargs)


def test_missing_weights_are_an_error_before_training():
    with pytest.raises(FileNotFoundError, match='nowhere.pth.*is not a file'):
        build(pretrained='nowhere.pth').init_weights()


def test_weights_of_another_model_are_refused_and_gaps_are_named(tmp_path, monkeypatch):
    path = tmp_path / 'weights.pth'
    torch.save({'layer1.0.conv1.weight': torch.zeros(3, 3)}, path)
    with pytest.raises(CheckpointError, match='weights.pth are not of this model: 100% of it is not among them'):
        build(pretrained=str(path)).init_weights()
    state = timm.create_model('vit_tiny_patch16_224', img_size=64, num_classes=0, **TINY).state_dict()
    torch.save({key: value for key, value in state.items() if key != 'blocks.1.mlp.fc1.weight'}, path)
    lines = []
    monkeypatch.setattr('mmwhitebox.models.backbones.timm_weights.print_log', lambda line, **kwargs: lines.append(line))
    model = build(pretrained=str(path))
    before = model.vit.blocks[1].mlp.fc1.weight.clone()
    model.init_weights()
    assert torch.equal(model.vit.blocks[0].mlp.fc1.weight, state['blocks.0.mlp.fc1.weight'])
    assert model.vit.blocks[1].mlp.fc1.weight.shape == before.shape
    assert [line.endswith('which lack blocks.1.mlp.fc1.weight: these start anew') for line in lines] == [True]


def test_weights_that_cannot_be_downloaded_name_the_remedy(monkeypatch):
    def no_network(*args, **kwargs):
        raise OSError('Cannot resolve\nhuggingface.co')

    monkeypatch.setattr('timm.models._builder.load_state_dict_from_hf', no_network)
    model = build(model_name='vit_tiny_patch16_224.augreg_in21k', pretrained=True)
    with pytest.raises(CheckpointError, match='cannot be downloaded .*Cannot resolve huggingface.co.*pretrained=PATH') \
            as caught:
        model.init_weights()
    assert '\n' not in str(caught.value)
