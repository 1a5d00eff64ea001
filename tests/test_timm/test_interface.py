"""The encoders as models of timm: what timm's own tests ask of a model."""
from copy import deepcopy
from unittest.mock import patch

import pytest
import timm
import torch
from timm.layers import DropPath
from timm.models import group_parameters
from timm.optim import create_optimizer_v2, param_groups_layer_decay
from torch import nn

from mmwhitebox.config.names import config_path
from mmwhitebox.config.reading import load_config
from mmwhitebox.errors import ConfigError
from mmwhitebox.models.backbones import WhiteBoxTransformer
from mmwhitebox.timm import NAMES
from tests.test_timm.small import FAMILIES, LATE, images, small


def parameters_without_gradient(model: nn.Module) -> list[str]:
    return [name for name, value in model.named_parameters() if value.grad is None or not value.grad.isfinite().all()]


def test_every_arch_is_registered_under_a_name_that_timm_does_not_have():
    archs = [arch for arch in WhiteBoxTransformer.arch_zoo if arch not in ('vit-tiny', 'vit-small')]
    assert sorted(timm.list_models(module='whitebox_transformer')) == sorted(arch.replace('-', '_') for arch in archs)
    assert sorted(NAMES) == sorted(timm.list_models(module='whitebox_transformer'))
    assert not [name for name in NAMES if hasattr(timm.models, name)]  # which has timm's own


def test_names_are_found():
    assert timm.list_models('cbt*') == ['cbt_base', 'cbt_large', 'cbt_small', 'cbt_tiny']
    assert timm.is_model('crate_alpha_huge') and not timm.is_model('vit_tiny')
    assert not timm.list_models('cbt*', pretrained=True)
    assert timm.model_entrypoint('cbt_small').__name__ == 'cbt_small'


@pytest.mark.parametrize('name', NAMES)
def test_the_sizes_are_those_of_the_arch(name):
    arch = WhiteBoxTransformer.arch_zoo[name.replace('_', '-')]
    with torch.device('meta'), patch.object(WhiteBoxTransformer, 'init_weights', lambda self: None):
        model = timm.create_model(name)
    assert model.num_features == model.head_hidden_size == model.embed_dim == arch['embed_dims']
    assert len(model.feature_info) == len(model.backbone.layers) == arch['num_layers']
    assert len(model.backbone.class_layers) == arch['num_class_layers']
    assert model.num_classes == model.get_classifier().out_features == 1000


@pytest.mark.parametrize('name', FAMILIES)
def test_default_cfg(name):
    model = small(name)
    cfg = model.default_cfg
    assert cfg is model.pretrained_cfg and cfg['architecture'] == name
    assert cfg['input_size'] == (3, 224, 224) and cfg['num_classes'] == 1000 and not cfg['fixed_input_size']
    keys = model.state_dict()
    assert cfg['classifier'] + '.weight' in keys and model.get_submodule(cfg['classifier']) is model.get_classifier()
    if cfg['first_conv'] is None:
        assert not any(isinstance(part, nn.Conv2d) for part in model.modules())
    else:
        first = next(part for part in model.modules() if isinstance(part, nn.Conv2d))
        assert model.get_submodule(cfg['first_conv']) is first and first.in_channels == 3


@pytest.mark.parametrize('name, config', [
    ('cbt_small', 'cbt_small_imagenet'), ('crate_base', 'crate_base_imagenet'), ('tost_small', 'tost_small_imagenet'),
    ('crate_alpha_base', 'crate_alpha_base_finetune_imagenet'), ('dmst_tiny', 'dmst_tiny_imagenet')])
def test_images_are_prepared_as_in_the_config_of_the_classifier(name, config):
    cfg = load_config(config_path(config))
    found = timm.get_pretrained_cfg(name)
    _, edge, crop, _ = cfg.test_dataloader.dataset.pipeline
    assert found.crop_pct == crop['crop_size'] / edge['scale'] and found.interpolation == edge['interpolation']
    assert found.input_size[1:] == (crop['crop_size'], ) * 2
    for key in ('mean', 'std'):
        assert [value * 255 for value in getattr(found, key)] == pytest.approx(cfg.model.data_preprocessor[key])


@pytest.mark.parametrize('name', FAMILIES)
def test_forward_is_features_and_head(name):
    model, x = small(name), images()
    tokens = model.forward_features(x)
    assert tokens.shape == (2, 17, 24) and model.num_prefix_tokens == 1
    logits = model(x)
    assert logits.shape == (2, 5) and not logits.isnan().any()
    torch.testing.assert_close(model.forward_head(tokens), logits)
    before = model.forward_head(tokens, pre_logits=True)
    torch.testing.assert_close(before, tokens[:, 0])
    torch.testing.assert_close(model.get_classifier()(before), logits)


@pytest.mark.parametrize('name', FAMILIES)
@pytest.mark.parametrize('pool', ['token', 'avg'])
def test_every_parameter_gets_a_gradient(name, pool):
    model = small(name, global_pool=pool).train()
    model(images(4, 3, 32, 32)).square().mean().backward()
    assert not parameters_without_gradient(model)


@pytest.mark.parametrize('name', FAMILIES)
def test_reset_classifier(name):
    model, x = small(name).train(), images()
    before = model.eval().forward_head(model.forward_features(x), pre_logits=True)
    model.reset_classifier(0)
    assert model.num_classes == 0 and isinstance(model.get_classifier(), nn.Identity)
    torch.testing.assert_close(model(x), before, rtol=0, atol=0)
    model.reset_classifier(0, '')
    torch.testing.assert_close(model(x), model.forward_features(x), rtol=0, atol=0)
    model.reset_classifier(7, 'avg')
    assert model(x).shape == (2, 7) and model.global_pool == 'avg'
    assert small(name, num_classes=0, global_pool='')(x).shape == (2, 17, 24)


@pytest.mark.parametrize('name', LATE)
def test_the_mean_of_the_patches_is_without_class_attention(name):
    model = small(name)
    model.reset_classifier(5, 'avg')
    built = small(name, global_pool='avg')
    assert sorted(built.state_dict()) == sorted(model.state_dict()) and built.num_prefix_tokens == 0
    built.load_state_dict(model.state_dict())
    torch.testing.assert_close(built(images()), model(images()), rtol=0, atol=0)
    with pytest.raises(ValueError, match='needs a class token'):
        model.reset_classifier(5, 'token')


def test_pools():
    tokens = small('cbt_tiny').forward_features(images())
    patches = tokens[:, 1:]
    for pool, expected in dict(token=tokens[:, 0], avg=patches.mean(1), max=patches.amax(1),
                               avgmax=(patches.amax(1) + patches.mean(1)) / 2).items():
        model = small('cbt_tiny', global_pool=pool, num_classes=0)
        torch.testing.assert_close(model.forward_head(tokens), expected)
    assert small('cbt_tiny', class_token=False).global_pool == 'avg'


@pytest.mark.parametrize('name', FAMILIES)
def test_features_only(name):
    torch.manual_seed(1)
    model = small(name, features_only=True, out_indices=(0, 1))
    x = images(2, 3, 32, 48)
    features = model(x)
    assert model.feature_info.channels() == [24, 24] and model.feature_info.reduction() == [8, 8]
    assert model.feature_info.module_name() == ['backbone.layers.0', 'backbone.layers.1']
    assert [feature.shape for feature in features] == [(2, 24, 4, 6)] * 2
    outputs = []  # of the layers themselves
    for layer in model.model.backbone.layers:
        layer.register_forward_hook(lambda _, args, output: outputs.append(output))
    model(x)
    for feature, output in zip(features, outputs, strict=True):
        torch.testing.assert_close(feature.flatten(2).transpose(1, 2), output[:, -24:], rtol=0, atol=0)
    model.train()(x)[-1].square().mean().backward()
    assert not parameters_without_gradient(model)


def test_features_only_builds_no_layer_after_the_last():
    model = small('cbt_tiny', depth=3, features_only=True, out_indices=[-3, 1])
    assert len(model.model.backbone.layers) == 2 and model.model.num_classes == 0
    assert [feature.shape[1] for feature in model(images())] == [24, 24]
    assert 'classifier' not in model.pretrained_cfg
    assert len(small('cbt_tiny', depth=4, features_only=True)(images())) == 3  # as timm's ViTs


@pytest.mark.parametrize('name', ['cbt_tiny', 'tost_tiny'])
def test_forward_intermediates(name):
    model, x = small(name), images()
    final, features = model.forward_intermediates(x)
    torch.testing.assert_close(final, model.forward_features(x))
    assert [feature.shape for feature in features] == [(2, 24, 4, 4)] * 2
    only = model.forward_intermediates(x, 1, norm=True, output_fmt='NLC', intermediates_only=True)
    featmap = WhiteBoxTransformer(arch=model.backbone.arch_settings, img_size=32, patch_size=8, out_type='featmap')
    featmap.load_state_dict(model.backbone.state_dict())
    torch.testing.assert_close(only[0].transpose(1, 2).unflatten(2, (4, 4)), featmap.eval()(x)[0])
    found = model.forward_intermediates(x, [0], output_dict=True)
    torch.testing.assert_close(found['image_features'], final)
    assert list(found) == ['image_intermediates', 'image_features']
    early = model.forward_intermediates(x, [0], stop_early=True, intermediates_only=True)
    torch.testing.assert_close(early[0], features[0])
    with pytest.raises(ValueError, match="neither 'NCHW' nor 'NLC'"):
        model.forward_intermediates(x, output_fmt='NHWC')


def test_prefix_tokens():
    model, x = small('cbt_tiny'), images()
    (maps, prefix), = model.forward_intermediates(x, 1, intermediates_only=True, return_prefix_tokens=True, norm=True)
    tokens = model.forward_features(x)
    torch.testing.assert_close(torch.cat([prefix, maps.flatten(2).transpose(1, 2)], 1), tokens)
    found = model.forward_intermediates(x, 1, output_dict=True, return_prefix_tokens=True, norm=True)
    torch.testing.assert_close(found['image_intermediates_prefix'][0], prefix)
    with pytest.raises(ValueError, match="joins after the last layer; global_pool='avg' builds it without one"):
        small('tost_tiny').forward_intermediates(x, return_prefix_tokens=True)
    none = small('tost_tiny', global_pool='avg').forward_intermediates(
        x, 1, intermediates_only=True, return_prefix_tokens=True)
    assert none[0].shape == (2, 24, 4, 4)  # as of timm's ViTs without prefix tokens


@pytest.mark.parametrize('name', FAMILIES)
def test_layer_decay(name):
    model = small(name)
    groups = group_parameters(model, model.group_matcher(), reverse=True)
    assert set(groups) == {key for key, _ in model.named_parameters()}
    late = name in LATE
    for key, depth in groups.items():
        part = key.removeprefix('backbone.')
        if key.startswith('head.'):
            expected = 3
        elif part.startswith('layers.'):
            expected = 1 + int(part.split('.')[1])
        elif part.startswith(('norm.', 'class_layers.')) or (part == 'cls_token' and late):
            expected = 2
        else:
            expected = 0
        assert depth == expected, key
    decayed = param_groups_layer_decay(model, no_weight_decay_list=model.no_weight_decay(), layer_decay=0.5)
    scales = {id(value): group['lr_scale'] for group in decayed for value in group['params']}
    parameters = dict(model.named_parameters())
    assert scales[id(parameters['head.fc.weight'])] == 1
    assert scales[id(parameters['backbone.layers.1.norm1.weight'])] == 0.5
    assert scales[id(next(model.backbone.stem.parameters()))] == 0.125


@pytest.mark.parametrize('name', FAMILIES)
def test_what_is_not_decayed(name):
    model = small(name)
    expected = {key for key, _ in model.named_parameters()
                if key == 'backbone.cls_token' or key.endswith(('pos_embed.table', 'attn.temp'))}
    assert model.no_weight_decay() == expected and 'backbone.cls_token' in expected
    optimizer = create_optimizer_v2(model, 'adamw', weight_decay=0.1)
    spared = {id(value) for group in optimizer.param_groups if not group['weight_decay'] for value in group['params']}
    assert {id(dict(model.named_parameters())[key]) for key in expected} <= spared


@pytest.mark.parametrize('name', ['cbt_tiny', 'tost_tiny'])
def test_checkpointing_changes_no_gradient(name):
    gradients = []
    for enable in (False, True):
        torch.manual_seed(3)
        model = small(name).train()
        model.set_grad_checkpointing(enable)
        with patch('mmwhitebox.models.backbones.whitebox_transformer.checkpoint',
                   side_effect=torch.utils.checkpoint.checkpoint) as recomputed:
            model(images(4, 3, 32, 32)).square().mean().backward()
        assert bool(recomputed.call_count) == enable
        gradients.append([value.grad for value in model.parameters()])
    for plain, again in zip(*gradients, strict=True):
        torch.testing.assert_close(again, plain, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize('name', FAMILIES)
def test_state_dict_deepcopy_and_channels_last(name):
    model, x = small(name), images()
    expected = model(x)
    other = small(name)
    assert not torch.equal(other(x), expected)
    other.load_state_dict(model.state_dict())
    torch.testing.assert_close(other(x), expected, rtol=0, atol=0)
    copied = deepcopy(model)
    copied.load_state_dict(copied.state_dict())
    torch.testing.assert_close(copied(x), expected, rtol=0, atol=0)
    last = model.to(memory_format=torch.channels_last)(x.contiguous(memory_format=torch.channels_last))
    torch.testing.assert_close(last, expected, rtol=1e-4, atol=1e-5)


def test_torch_export():
    model, x = small('tost_tiny'), images()
    exported = torch.export.export(model, (x, ))
    torch.testing.assert_close(exported.module()(x), model(x))


@pytest.mark.parametrize('name', FAMILIES)
def test_another_size_and_number_of_channels(name):
    model = small(name, in_chans=5)
    assert model.in_chans == 5 and model(images(1, 5, 40, 64)).shape == (1, 5)
    expected = model(images(1, 5, 40, 64))
    model.set_input_size((40, 64))
    torch.testing.assert_close(model(images(1, 5, 40, 64)), expected)
    assert 'backbone.pos_embed.table' not in model.state_dict() or \
        model.state_dict()['backbone.pos_embed.table'].shape[1] == 1 + 5 * 8
    with pytest.raises(ValueError, match='patches of this model are 8 x 8'):
        model.set_input_size(patch_size=16)
    model.set_input_size(64, patch_size=8)


def test_timm_knows_the_size_that_was_set():
    noted = pytest.importorskip('timm.models._input', reason='an older timm keeps no notes')
    model = small('cbt_tiny', in_chans=5)
    model.set_input_size((40, 64))
    assert noted.get_model_input_config(model)['input_size'] == (5, 40, 64)
    assert noted.get_model_args(model)['img_size'] == (40, 64)


def test_drop_rates():
    model = small('cbt_tiny', drop_rate=0.3, drop_path_rate=0.2)
    assert model.head.drop.p == 0.3
    assert [part.drop_prob for part in model.modules() if isinstance(part, DropPath)] == [0.2]


def test_weights_begin_as_the_arch_says():
    torch.manual_seed(0)
    weight = timm.create_model('tost_tiny', depth=1).backbone.layers[0].ffn.fc1.weight
    assert weight.std().item() == pytest.approx(0.02, rel=0.05)  # torch's own would be 0.04


@pytest.mark.parametrize('arguments, said', [
    (dict(mlp_ratio=2), 'cbt_tiny: unknown argument mlp_ratio; the arguments of the model are arch, img_size'),
    (dict(pretrained=True), 'cbt_tiny: no weights are hosted. Give a folder of save_pretrained'),
    (dict(pretrained=True, pretrained_cfg_overlay=dict(file='gone.pth')), 'cbt_tiny: gone.pth, the file'),
    (dict(global_pool='map'), "global_pool='map' is none of 'token', 'avg'"),
    (dict(class_token=False, global_pool='token'), "global_pool='token' needs a class token"),
    (dict(arch='crate-tiny'), "cbt_tiny: arch must be 'cbt-tiny', or a dict that differs from it in its sizes only"),
    (dict(depth=0), 'num_layers=0 must be a positive integer'),
])
def test_mistakes_are_refused_in_one_line(arguments, said):
    with pytest.raises((ConfigError, RuntimeError, ValueError)) as refused:
        timm.create_model('cbt_tiny', **arguments)
    assert said in str(refused.value) and '\n' not in str(refused.value)
