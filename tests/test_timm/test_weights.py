"""Weights of trainings in the models of timm: from folders, from files, by timm's own ways."""
import shutil

import pytest
import timm
import torch
from mmengine.config import Config
from safetensors.torch import save_file
from timm.models import save_for_hf

from mmwhitebox.apis import init_model, save_pretrained
from mmwhitebox.errors import CheckpointError
from mmwhitebox.models.backbones import WhiteBoxTransformer
from tests.configs import reduced_arch
from tests.test_apis.pretrained_models import small_classifier, with_pipeline
from tests.test_timm.small import SMALL, images

ARCHS = ('cbt-tiny', 'crate-tiny', 'crate-alpha-base', 'crate-mae-tiny', 'tost-tiny', 'tost-medium', 'dmst-tiny')


def name_of(arch: str) -> str:
    return arch.replace('-', '_')


def classifier(arch: str = 'cbt-tiny', **backbone):
    """mmpretrain's classifier of the config, small, with other weights than at its start."""
    cfg = small_classifier(arch)
    cfg.model.backbone.update(backbone)
    if backbone.get('out_type') == 'featmap':
        cfg.model.neck = dict(type='GlobalAveragePooling')
    model = init_model(cfg, device='cpu')
    with torch.no_grad():
        for value in model.parameters():
            value.add_(0.1 * torch.randn_like(value))
    model.dataset_meta = dict(classes=['cat', 'dog', 'cow'])
    return model.eval()


def folder_of(model, path, **kwargs):
    return str(save_pretrained(model, path / 'saved', **kwargs))


@pytest.mark.parametrize('arch', ARCHS)
def test_logits_are_those_of_the_classifier(tmp_path, arch):
    model, x = classifier(arch), images()
    loaded = timm.create_model(name_of(arch), pretrained=folder_of(model, tmp_path)).eval()
    torch.testing.assert_close(loaded(x), model(x, mode='tensor'), rtol=0, atol=0)
    assert loaded.num_classes == 3 and sorted(loaded.state_dict()) == sorted(model.state_dict())


@pytest.mark.parametrize('arch', ['cbt-tiny', 'tost-tiny'])
@pytest.mark.parametrize('backbone', [
    dict(out_type='avg_featmap'), dict(out_type='avg_featmap', with_cls_token=False), dict(out_type='featmap')],
    ids=['avg', 'no-class-token', 'neck'])
def test_the_mean_of_the_patches(tmp_path, arch, backbone):
    model, x = classifier(arch, **backbone), images()
    loaded = timm.create_model(name_of(arch), pretrained=folder_of(model, tmp_path)).eval()
    assert loaded.global_pool == 'avg'
    torch.testing.assert_close(loaded(x), model(x, mode='tensor'))


def test_what_the_folder_says_goes_before_the_arch(tmp_path):
    attention = dict(type='CBSA', pool_size=2)
    model, x = classifier(attention=attention, interpolate_mode='dino', img_size=(32, 64)), images(2, 3, 40, 40)
    loaded = timm.create_model('cbt_tiny', pretrained=folder_of(model, tmp_path)).eval()
    torch.testing.assert_close(loaded(x), model(x, mode='tensor'), rtol=0, atol=0)
    assert loaded.pretrained_cfg['input_size'] == (3, 32, 64)


def test_another_image_size(tmp_path):
    """A table of 4 x 8 places is not taken for another shape of as many."""
    model, x = classifier(img_size=(32, 64)), images(2, 3, 64, 64)
    loaded = timm.create_model('cbt_tiny', pretrained=folder_of(model, tmp_path), img_size=64).eval()
    assert loaded.backbone.pos_embed.grid_size == (8, 8)
    torch.testing.assert_close(loaded(x), model(x, mode='tensor'))


def test_pretrained_cfg_is_that_of_the_folder(tmp_path):
    cfg = small_classifier()
    cfg.model.data_preprocessor.update(mean=[10, 20, 30], std=[51, 102, 204])
    with_pipeline(cfg, dict(type='ResizeEdge', scale=40, edge='short', backend='pillow', interpolation='bicubic'),
                  dict(type='CenterCrop', crop_size=32))
    model = init_model(cfg, device='cpu')
    folder = folder_of(model, tmp_path)
    found = timm.create_model('cbt_tiny', pretrained=folder).pretrained_cfg
    assert found['file'] == f'{folder}/model.safetensors' and found['num_classes'] == 3
    assert found['label_names'] == ('cat', 'dog', 'cow') and found['input_size'] == (3, 32, 32)
    assert found['std'] == (0.2, 0.4, 0.8) and found['mean'] == pytest.approx((10 / 255, 20 / 255, 30 / 255))
    assert found['crop_pct'] == 0.8 and found['interpolation'] == 'bicubic'
    transform = timm.data.create_transform(**timm.data.resolve_data_config(found))
    assert transform.transforms[0].size == 40 and transform.transforms[1].size == (32, 32)


def test_a_new_classifier(tmp_path):
    model = classifier()
    loaded = timm.create_model('cbt_tiny', pretrained=folder_of(model, tmp_path), num_classes=9).eval()
    assert loaded(images()).shape == (2, 9)
    own = model.backbone.state_dict()
    for key, value in loaded.backbone.state_dict().items():
        assert torch.equal(value, own[key]), key
    none = timm.create_model('cbt_tiny', pretrained=folder_of(model, tmp_path), num_classes=0).eval()
    torch.testing.assert_close(none(images()), model.extract_feat(images())[-1])


@pytest.mark.parametrize('arch', ['cbt-tiny', 'tost-tiny'])
def test_a_bare_encoder(tmp_path, arch):
    model, x = classifier(arch), images()
    folder = folder_of(model, tmp_path, part='backbone')
    loaded = timm.create_model(name_of(arch), pretrained=folder).eval()
    assert loaded.num_classes == 0
    torch.testing.assert_close(loaded(x), model.backbone(x)[-1], rtol=0, atol=0)
    assert timm.create_model(name_of(arch), pretrained=folder, num_classes=4)(x).shape == (2, 4)


@pytest.mark.parametrize('arch', ['cbt-tiny', 'tost-tiny'])
def test_the_encoder_of_a_segmentor(tmp_path, arch):
    settings = {**reduced_arch(arch), 'embed_dims': 24, 'num_heads': 2, 'num_layers': 2}
    cfg = with_pipeline(Config(dict(
        default_scope='mmseg',
        model=dict(
            type='EncoderDecoder', data_preprocessor=dict(type='SegDataPreProcessor', mean=[1.] * 3, std=[2.] * 3),
            backbone=dict(type='mmwhitebox.WhiteBoxTransformer', arch=settings, img_size=32, patch_size=8,
                          out_type='featmap', out_indices=(0, 1)),
            decode_head=dict(type='FCNHead', in_channels=24, in_index=1, channels=24, num_classes=2, num_convs=0,
                             concat_input=False, kernel_size=1),
            test_cfg=dict(mode='whole')),
        test_dataloader=dict(dataset=dict(type='BaseSegDataset', metainfo=dict(
            classes=['a', 'b'], palette=[[0, 0, 0], [9, 9, 9]]))))))
    model, x = init_model(cfg, device='cpu').eval(), images()
    folder = folder_of(model, tmp_path)
    features = timm.create_model(name_of(arch), pretrained=folder, features_only=True, out_indices=(0, )).eval()(x)
    torch.testing.assert_close(features[0], model.backbone(x)[0])
    whole = timm.create_model(name_of(arch), pretrained=folder).eval()
    final = whole.forward_intermediates(x, 1, norm=True, intermediates_only=True)[0]
    torch.testing.assert_close(final, model.backbone(x)[1])


@pytest.mark.parametrize('channels', [1, 4])
def test_other_channels_are_adapted_as_timm_does(tmp_path, channels):
    model = classifier()
    loaded = timm.create_model('cbt_tiny', pretrained=folder_of(model, tmp_path), in_chans=channels)
    weight = model.backbone.stem.stages[0][0].weight
    expected = weight.sum(1, keepdim=True) if channels == 1 else weight[:, [0, 1, 2, 0]] * 3 / 4
    torch.testing.assert_close(loaded.backbone.stem.stages[0][0].weight, expected)


@pytest.mark.parametrize('part', [None, 'backbone'])
def test_a_file_for_timm(tmp_path, part):
    model, x = classifier(), images()
    file = folder_of(model, tmp_path, part=part) + '/model.safetensors'
    args = {**SMALL, 'depth': 1}
    overlay = dict(file=file, input_size=(3, 32, 32))
    loaded = timm.create_model('cbt_tiny', pretrained=True, pretrained_cfg_overlay=overlay, num_classes=3, **args)
    torch.testing.assert_close(loaded.backbone.eval()(x)[-1][:, 0], model.backbone(x)[-1], rtol=0, atol=0)
    assert torch.equal(loaded.head.fc.weight, model.head.fc.weight) == (part is None)
    if part is None:
        strict = timm.create_model('cbt_tiny', checkpoint_path=file, num_classes=3, **args).eval()
        torch.testing.assert_close(strict(x), loaded.eval()(x), rtol=0, atol=0)
    else:
        bare = timm.create_model('cbt_tiny', checkpoint_path=file, num_classes=0, **args).eval()
        torch.testing.assert_close(bare(x), model.backbone(x)[-1], rtol=0, atol=0)


def test_a_checkpoint_of_a_training_for_timm(tmp_path):
    model, x = classifier(), images()
    torch.save(dict(meta=dict(epoch=3), state_dict=model.state_dict()), tmp_path / 'epoch_3.pth')
    loaded = timm.create_model('cbt_tiny', checkpoint_path=str(tmp_path / 'epoch_3.pth'), num_classes=3,
                               **{**SMALL, 'depth': 1}).eval()
    torch.testing.assert_close(loaded(x), model(x, mode='tensor'), rtol=0, atol=0)


def test_what_timm_saves_it_loads(tmp_path):
    pytest.importorskip('timm.models._input', reason='an older timm keeps no notes')
    model, x = classifier(attention=dict(type='CBSA', pool_size=2)), images()
    loaded = timm.create_model('cbt_tiny', pretrained=folder_of(model, tmp_path)).eval()
    save_for_hf(loaded, str(tmp_path / 'timm'))
    again = timm.create_model(f'local-dir:{tmp_path}/timm', pretrained=True).eval()
    torch.testing.assert_close(again(x), loaded(x), rtol=0, atol=0)


def test_other_weights_are_refused_in_one_line(tmp_path):
    model = classifier()
    folder = folder_of(model, tmp_path)

    def refused(name='cbt_tiny', **args):
        with pytest.raises(CheckpointError) as error:
            timm.create_model(name, **{'pretrained': folder, **args})
        assert '\n' not in str(error.value)
        return str(error.value)

    assert 'an arch of its own, which is more than crate-tiny in another size' in refused('crate_tiny')
    assert 'The weights are not of this cbt_tiny: backbone.layers.1.norm1.weight' in refused(depth=2)
    assert '(24,) there, (12,) here' in refused(embed_dim=12)
    assert 'is no folder of save_pretrained' in refused(pretrained=f'{folder}/model.safetensors')
    save_file({'a': torch.zeros(1)}, tmp_path / 'other.safetensors')
    overlay = dict(file=str(tmp_path / 'other.safetensors'))
    assert 'are not of this cbt_tiny' in refused(pretrained=True, pretrained_cfg_overlay=overlay)
    stem = classifier('crate-tiny')
    shutil.rmtree(folder)
    folder = folder_of(stem, tmp_path)
    assert 'stem.norm1.weight (192,) there, (64,) here' in refused('crate_tiny', in_chans=1).replace('((', '(')


def test_folders_without_this_encoder_are_refused(tmp_path):
    args = dict(arch='cbt-tiny', img_size=32, out_indices=0, out_type='featmap')
    encoder = WhiteBoxTransformer(**args)
    folder = save_pretrained(encoder, tmp_path / 'first', cfg=dict(type='mmwhitebox.WhiteBoxTransformer', **args))
    with pytest.raises(CheckpointError, match='holds the first 1 layers of 12 only'):
        timm.create_model('cbt_tiny', pretrained=folder)
    with pytest.raises(CheckpointError, match='holds the encoder cbt-tiny, not cbt-small'):
        timm.create_model('cbt_small', pretrained=folder)
    folder = save_pretrained(classifier(), tmp_path / 'head', part='head')
    with pytest.raises(CheckpointError, match='holds a LinearClsHead, no encoder'):
        timm.create_model('cbt_tiny', pretrained=folder)
