"""tools/model_converters/convert_official.py as a user runs it: files out, and one message per bad file."""
import argparse
import runpy
import sys

import numpy as np
import pytest
import timm
import torch
from mmengine.config import Config, ConfigDict
from mmengine.registry import MODELS, init_default_scope

from mmwhitebox.apis import inference_model, init_model
from mmwhitebox.checkpoints import convert_to_official, describe_official, load_weights, safe_load
from tests.configs import ROOT
from tests.golden import Golden

TOOL = ROOT / 'tools' / 'model_converters' / 'convert_official.py'


def convert(monkeypatch, *args):
    """Run the tool in this process; the message it exits with, '' if it succeeds."""
    monkeypatch.setattr(sys, 'argv', [TOOL.name, *map(str, args)])
    try:
        runpy.run_path(str(TOOL), run_name='__main__')
    except SystemExit as error:
        return str(error.code)
    return ''


def save(folder, content, name='official.pth'):
    torch.save(content, folder / name)
    return folder / name


def test_a_classifier_there_and_back(monkeypatch, tmp_path):
    official = Golden('hybrid_model').params
    src = save(tmp_path, dict(epoch=1, arch='x', optimizer=dict(state={}), best_acc1=torch.tensor(1.),
                              state_dict={f'module.{key}': value for key, value in official.items()}))
    dst, config = tmp_path / 'new' / 'model.pth', tmp_path / 'new' / 'model.py'
    assert convert(monkeypatch, src, dst, '--family', 'cbt', '--config', config) == ''
    cfg = Config.fromfile(config)
    assert cfg.default_scope == 'mmpretrain' and '_base_' not in config.read_text()
    init_default_scope(cfg.default_scope)
    meta = load_weights(MODELS.build(cfg.model), dst)
    assert meta['source_family'] == 'cbt' and meta['pool_tokens'] == 'official'
    assert [layer['type'] for layer in meta['model']['backbone']['attention']] == ['MSSA'] * 2 + ['CBSA'] * 2

    assert convert(monkeypatch, dst, tmp_path / 'back.pth', '--family', 'cbt', '--inverse') == ''
    back = safe_load(tmp_path / 'back.pth')['state_dict']
    assert set(back) == set(official) and all(torch.equal(back[key], official[key]) for key in back)
    assert sorted(path.name for path in dst.parent.iterdir()) == ['model.pth', 'model.py']


def test_arrays_of_jax_there_and_back(monkeypatch, tmp_path):
    official = Golden('crate_alpha_jax').params
    src, dst, back = tmp_path / 'jax.npz', tmp_path / 'model.pth', tmp_path / 'back.npz'
    np.savez_compressed(src, **{key: value.numpy() for key, value in official.items()})
    assert convert(monkeypatch, src, dst, '--family', 'crate-alpha-jax', '--config', tmp_path / 'model.py') == ''
    model = init_model(str(tmp_path / 'model.py'), str(dst), device='cpu')
    assert model.backbone.norm.eps == 1e-6 and model.backbone.layers[1].attn.num_heads == 3
    inverse = dst, back, '--family', 'crate-alpha-jax', '--inverse'
    assert 'give num_heads (--num-heads)' in convert(monkeypatch, *inverse) and not back.exists()
    assert convert(monkeypatch, *inverse, '--num-heads', 3) == ''
    with np.load(back, allow_pickle=False) as arrays:
        assert set(arrays.files) == set(official)
        assert all((arrays[key] == official[key].numpy()).all() for key in official)
    assert 'must end in .npz' in convert(monkeypatch, dst, tmp_path / 'x.pth', *inverse[2:])


def test_tost_stores_its_arguments_beside_the_weights(monkeypatch, tmp_path):
    official = Golden('tost_model').params
    src = save(tmp_path, dict(model=official, args=argparse.Namespace(lr=1., device='cuda')))
    dst, back = tmp_path / 'out.pth', tmp_path / 'back.pth'
    assert convert(monkeypatch, src, dst, '--family', 'tost') == ''
    assert convert(monkeypatch, dst, back, '--family', 'tost', '--inverse') == ''
    assert set(safe_load(back)['model']) == set(official)


def test_the_heads_of_an_unknown_width(monkeypatch, tmp_path):
    src = save(tmp_path, Golden('crate_model').params)
    message = convert(monkeypatch, src, tmp_path / 'out.pth', '--family', 'crate')
    assert message.startswith('error: ') and 'give num_heads (--num-heads)' in message
    assert convert(monkeypatch, src, tmp_path / 'out.pth', '--family', 'crate', '--num-heads', 3) == ''


def test_a_segmentor_of_ade20k_works_with_its_config(monkeypatch, tmp_path):
    """Class names come along and the config has the data set, schedule and runtime."""
    model = MODELS.build(ConfigDict(
        type='EncoderDecoder',
        backbone=dict(type='mmwhitebox.TimmViT', model_name='vit_tiny_patch16_384', img_size=512,
                      interpolate_mode='bilinear', norm_eps=1e-5,
                      model_kwargs=dict(embed_dim=24, depth=1, num_heads=2)),
        decode_head=dict(type='mmwhitebox.WhiteBoxMaskHead', in_channels=24, channels=24, num_classes=150,
                         num_layers=1, attention=dict(type='CBSA', num_heads=3, head_dims=100, pool_size=10)),
        test_cfg=dict(mode='whole')))
    official = convert_to_official(model.state_dict(), 'cbt-decoder')
    official['encoder.head.weight'] = torch.zeros(1000, 24)
    src, dst, config = save(tmp_path, dict(model=official)), tmp_path / 'cbt.pth', tmp_path / 'cbt.py'
    assert convert(monkeypatch, src, dst, '--family', 'cbt-decoder', '--num-heads', 2,
                   '--config', config) == ''
    cfg = Config.fromfile(config)
    assert cfg.train_dataloader.dataset.type == 'ADE20KDataset' and cfg.train_cfg.max_iters == 161664
    assert len(safe_load(dst)['meta']['dataset_meta']['classes']) == 150
    found = init_model(str(config), str(dst), 'cpu', {'model.test_cfg.mode': 'whole'})
    assert found.dataset_meta['classes'][0] == 'wall' and len(found.dataset_meta['palette']) == 150
    for key, value in model.state_dict().items():
        assert torch.equal(found.state_dict()[key], value), key
    image = np.random.default_rng(0).integers(0, 256, (40, 64, 3), dtype=np.uint8)
    assert inference_model(found, image).mask.shape == (40, 64)


def test_an_imagenet_classifier_gets_the_recipe_of_its_family(monkeypatch, tmp_path):
    official = dict(Golden('cbt_model').params)
    official.update({'mlp_head.1.weight': torch.zeros(1000, 48), 'mlp_head.1.bias': torch.arange(1000.)})
    config = tmp_path / 'cbt.py'
    assert convert(monkeypatch, save(tmp_path, official), tmp_path / 'cbt.pth', '--family', 'cbt',
                   '--config', config) == ''
    cfg = Config.fromfile(config)
    assert cfg.test_dataloader.dataset.type == 'ImageNet'
    assert cfg.optim_wrapper.optimizer.type == 'mmwhitebox.Lion'
    model = init_model(str(config), str(tmp_path / 'cbt.pth'), 'cpu')
    image = np.zeros((240, 300, 3), np.uint8)
    assert inference_model(model, image).top(1)[0][0] == model.dataset_meta['classes'][999]


def picture(size=(50, 70)):
    return np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)


@torch.no_grad()
def test_the_demo_of_crate_has_two_linear_layers(monkeypatch, tmp_path):
    """Patch 8, heads of their own number, 21842 classes without names; the second layer follows without activation."""
    golden = Golden('crate_model')
    official = dict(golden.params)
    first = {key: torch.randn(48, *official[key].shape[1:]) for key in ('mlp_head.1.weight', 'mlp_head.1.bias')}
    second = {'head.weight': torch.randn(21842, 48), 'head.bias': torch.randn(21842)}
    src = save(tmp_path, {**official, **first, **second})
    dst, config = tmp_path / 'demo.pth', tmp_path / 'demo.py'
    assert convert(monkeypatch, src, dst, '--family', 'crate', '--num-heads', 3, '--config', config) == ''
    model = init_model(str(config), str(dst), 'cpu')
    assert model.dataset_meta['classes'][-1] == '21841'
    assert inference_model(model, picture()).top(1)[0][0].isdecimal()
    model.data_preprocessor = None
    images = (golden.inputs['image_u8'].float() / 255 - 0.5) / 0.5
    features = model.extract_feat(images)[-1]
    by_hand = (features @ first['mlp_head.1.weight'].t() + first['mlp_head.1.bias']) @ second['head.weight'].t()
    torch.testing.assert_close(model.head(model.extract_feat(images)), by_hand + second['head.bias'])
    assert convert(monkeypatch, dst, tmp_path / 'back.pth', '--family', 'crate', '--inverse') == ''
    back = safe_load(tmp_path / 'back.pth')['state_dict']
    assert set(back) == set(official) | set(second) and torch.equal(back['head.weight'], second['head.weight'])


def test_the_published_demo_has_six_heads():
    """Its width is that of CRATE-B with twelve."""
    with torch.device('meta'):
        model = MODELS.build(ConfigDict(
            _scope_='mmpretrain', type='ImageClassifier',
            backbone=dict(type='mmwhitebox.WhiteBoxTransformer', arch='crate-base', img_size=224, patch_size=8),
            head=dict(type='StackedLinearClsHead', num_classes=21842, in_channels=768, mid_channels=[768])))
    found = describe_official(convert_to_official(model.state_dict(), 'crate'), 'crate')
    assert found.backbone.arch['num_heads'] == 6 and found.backbone.patch_size == 8 and found.backbone.img_size == 224
    assert found.head.type == 'StackedLinearClsHead' and found.head.act_cfg is None


def test_names_of_classes_are_known_given_or_numbers(monkeypatch, tmp_path, capsys):
    src, dst, config = save(tmp_path, Golden('crate_model').params), tmp_path / 'o.pth', tmp_path / 'o.py'
    args = src, dst, '--family', 'crate', '--num-heads', 3, '--config', config
    assert convert(monkeypatch, *args) == '' and 'so they are numbers' in capsys.readouterr().out
    model = init_model(str(config), str(dst), 'cpu')
    assert model.dataset_meta['classes'] == [str(i) for i in range(10)] and inference_model(model, picture())
    assert convert(monkeypatch, *args, '--classes', 'cifar10') == ''
    assert 'numbers' not in capsys.readouterr().out
    assert init_model(str(config), str(dst), 'cpu').dataset_meta['classes'][:2] == ['airplane', 'automobile']
    names = tmp_path / 'names.txt'
    names.write_text('one\ntwo\n\n')
    assert 'has 2 names; the head has 10 outputs' in convert(monkeypatch, *args, '--classes', names)
    assert 'neither a file nor one of imagenet, cifar10' in convert(monkeypatch, *args, '--classes', 'cifar')


@pytest.mark.parametrize('num_classes, size, name, data_set', [
    (19, 768, 'road', 'CityscapesDataset'), (60, 480, 'background', 'PascalContextDataset'),
    (60, 64, 'background', None), (59, 480, 'aeroplane', None), (7, 64, '0', None)])
def test_segmenters_of_other_data_sets_work_with_their_config(monkeypatch, tmp_path, num_classes, size, name, data_set):
    official = dict(Golden('segmenter_full').params)
    official['encoder.pos_embed'] = torch.zeros(1, (size // 16)**2 + 1, 48)
    official['decoder.cls_emb'] = torch.zeros(1, num_classes, 48)
    official |= {f'decoder.mask_norm.{part}': torch.zeros(num_classes) for part in ('weight', 'bias')}
    src, dst, config = save(tmp_path, dict(model=official)), tmp_path / 's.pth', tmp_path / 's.py'
    assert convert(monkeypatch, src, dst, '--family', 'segmenter', '--num-heads', 3, '--config', config) == ''
    cfg = Config.fromfile(config)
    assert cfg.test_dataloader.dataset.type == data_set if data_set else 'test_dataloader' not in cfg
    model = init_model(str(config), str(dst), 'cpu', {'model.test_cfg.mode': 'whole'})
    assert model.dataset_meta['classes'][0] == name and len(model.dataset_meta['palette']) == num_classes
    if size == 64:
        assert inference_model(model, picture()).mask.shape == (50, 70)


@pytest.mark.parametrize('wrap', [
    lambda state: dict(model_ema=state), lambda state: dict(module=state, optimizer={}),
    lambda state: dict(model=dict(state_dict=state), model_ema={}),
    lambda state: dict(state_dict={f'module._orig_mod.{key}': value for key, value in state.items()})])
def test_wrappers(monkeypatch, tmp_path, wrap):
    official = Golden('tost_model').params
    dst = tmp_path / 'o.pth'
    args = argparse.Namespace(output_dir=tmp_path)
    src = save(tmp_path, dict(wrap(official), args=args))
    assert convert(monkeypatch, src, dst, '--family', 'tost') == ''
    assert len(safe_load(dst)['state_dict']) >= len(official)


def test_a_backbone_without_a_head(monkeypatch, tmp_path, capsys):
    vit = timm.create_model('vit_tiny_patch16_224', img_size=32, num_classes=0, depth=1)
    src, dst, config = save(tmp_path, vit.state_dict()), tmp_path / 'v.pth', tmp_path / 'v.py'
    assert convert(monkeypatch, src, dst, '--family', 'vit', '--config', config) == ''
    assert 'a backbone without a head' in capsys.readouterr().out
    cfg = Config.fromfile(config)
    init_default_scope(cfg.default_scope)
    load_weights(MODELS.build(cfg.model), dst)
    assert 'the weights have no head' in convert(monkeypatch, src, dst, '--family', 'vit', '--classes', 'cifar10')


class Hostile:
    """Writes a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), 'w')


def bad_files(folder):
    """One file of each kind, and what the message about it must say."""
    params = Golden('cbt_model').params
    whole = save(folder, params, 'whole.pth').read_bytes()
    contents = dict(truncated=whole[:len(whole) // 2], empty=b'', html=b'<!DOCTYPE html><html>gone</html>')
    for name, content in contents.items():
        (folder / f'{name}.pth').write_bytes(content)
    save(folder, dict(state_dict=params, arch=Hostile(folder / 'planted')), 'hostile.pth')
    save(folder, Golden('crate_model').params, 'family.pth')
    save(folder, {key: value for key, value in params.items() if key != 'mlp_head.0.bias'}, 'missing.pth')
    save(folder, {**params, 'extra.weight': torch.zeros(2)}, 'unknown.pth')
    save(folder, torch.zeros(3), 'tensor.pth')
    save(folder, dict(epoch=1), 'nothing.pth')


@pytest.mark.parametrize('name, message', [
    ('truncated', 'cannot be read: it is truncated or damaged'),
    ('empty', 'is empty (0 bytes)'),
    ('html', 'is a web page'),
    ('hostile', 'was refused'),
    ('family', 'is not of the family cbt, which has no to_patch_embedding.1.weight'),
    ('missing', 'It lacks mlp_head.0.bias.'),
    ('unknown', 'which has no extra.weight.'),
    ('tensor', 'holds no weights'),
    ('nothing', 'not tensors are epoch'),
    ('absent', 'does not exist'),
])
def test_bad_files_end_in_one_message(monkeypatch, tmp_path, name, message):
    bad_files(tmp_path)
    said = convert(monkeypatch, tmp_path / f'{name}.pth', tmp_path / 'out' / 'out.pth', '--family', 'cbt',
                   '--config', tmp_path / 'out' / 'out.py')
    assert said.startswith('error: ') and message in said
    assert not (tmp_path / 'out').exists() and not (tmp_path / 'planted').exists()


def test_bad_destinations(monkeypatch, tmp_path):
    src = save(tmp_path, Golden('cbt_model').params)
    assert 'DST is SRC' in convert(monkeypatch, src, src, '--family', 'cbt')
    assert 'must end in .pth' in convert(monkeypatch, src, tmp_path / 'out.safetensors', '--family', 'cbt')
    (tmp_path / 'file').write_text('')
    assert 'cannot be written' in convert(monkeypatch, src, tmp_path / 'file' / 'out.pth', '--family', 'cbt')
    assert 'takes none of --config' in convert(monkeypatch, src, tmp_path / 'o.pth', '--family', 'cbt', '--inverse',
                                               '--config', 'o.py')


def test_the_inverse_of_another_family(monkeypatch, tmp_path):
    src = save(tmp_path, Golden('cbt_model').params)
    convert(monkeypatch, src, tmp_path / 'ours.pth', '--family', 'cbt')
    message = convert(monkeypatch, tmp_path / 'ours.pth', tmp_path / 'out.pth', '--family', 'crate',
                      '--inverse')
    assert 'no state dict of an mmwhitebox model of the family crate' in message


def rectangular(kind):
    """A model for 32 x 96 pixels and its official weights."""
    torch.manual_seed(7)
    if kind == 'segmenter':
        init_default_scope('mmseg')
        model = MODELS.build(ConfigDict(
            type='EncoderDecoder',
            backbone=dict(type='mmwhitebox.TimmViT', model_name='vit_small_patch16_384', img_size=(32, 96),
                          interpolate_mode='bilinear', norm_eps=1e-5,
                          model_kwargs=dict(embed_dim=48, depth=1, num_heads=3, patch_size=8)),
            decode_head=dict(type='FCNHead', in_channels=48, channels=48, num_classes=5, num_convs=0,
                             concat_input=False, dropout_ratio=0.),
            test_cfg=dict(mode='whole')))
    else:
        init_default_scope('mmpretrain')
        arch = dict(embed_dims=48, num_layers=1, num_heads=3, attention=dict(type='CBSA', pool_tokens='official'),
                    feedforward=dict(type='ISTA'))
        model = MODELS.build(ConfigDict(
            type='ImageClassifier',
            backbone=dict(type='mmwhitebox.WhiteBoxTransformer', arch=arch, img_size=(32, 96), patch_size=8,
                          interpolate_mode='dino'),
            head=dict(type='LinearClsHead', num_classes=5, in_channels=48)))
    return model.eval(), convert_to_official(model.state_dict(), kind)


@pytest.mark.parametrize('kind', ['segmenter', 'cbt'])
@torch.no_grad()
def test_position_tables_that_are_not_square(monkeypatch, tmp_path, kind):
    model, official = rectangular(kind)
    src, dst, config = save(tmp_path, official), tmp_path / 'model.pth', tmp_path / 'model.py'
    args = (src, dst, '--family', kind, '--num-heads', 3)
    assert 'has rows for 48 patches, which is no square grid' in convert(monkeypatch, *args)
    assert 'makes 4 x 11' in convert(monkeypatch, *args, '--img-size', 32, 88)
    assert 'multiples of the patch, 8' in convert(monkeypatch, *args, '--img-size', 36, 96)
    assert convert(monkeypatch, *args, '--img-size', 32, 96, '--config', config) == ''
    cfg = Config.fromfile(config)
    assert tuple(cfg.model.backbone.img_size) == (32, 96)
    cfg.model.pop('data_preprocessor')
    converted = MODELS.build(cfg.model).eval()
    load_weights(converted, dst)
    images = torch.randn(1, 3, 32, 96)
    torch.testing.assert_close(converted(images, mode='tensor'), model(images, mode='tensor'))
    cfg.model.backbone.img_size = (64, 64)  # another model finds the grid in the file
    other = MODELS.build(cfg.model).eval()
    load_weights(other, dst)
    images = torch.randn(1, 3, 64, 64)
    torch.testing.assert_close(other(images, mode='tensor'), model(images, mode='tensor'))
