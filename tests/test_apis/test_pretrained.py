"""A saved model is the same model in a fresh process that has its folder alone, whatever it is made of."""
import json
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
import yaml
from mmengine.config import Config
from mmengine.registry import MODELS as MMENGINE_MODELS
from PIL import Image
from safetensors.torch import load_file

from mmwhitebox.apis import build_model, from_pretrained, inference_model, init_model, save_pretrained
from mmwhitebox.apis.export import LogitsNetwork
from mmwhitebox.checkpoints import safe_load
from mmwhitebox.errors import UserError
from tests.configs import ROOT
from tests.test_apis.pretrained_models import CLASSES, MODELS, config_of, small_classifier, small_segmentor

SCRIPT = '''
import json, pathlib, sys, torch
from mmwhitebox.apis import from_pretrained, inference_model
from mmwhitebox.apis.export import LogitsNetwork
torch.set_num_threads(1)
folder = pathlib.Path(sys.argv[1])
images = torch.load(folder / 'images.pt')
found = {}
for path in sorted(folder.glob('*/model.safetensors')):
    model = from_pretrained(path.parent, 'cpu')
    result = inference_model(model, folder / 'photo.png')
    with torch.no_grad():
        found[path.parent.name] = dict(logits=LogitsNetwork(model)(images), meta=model.dataset_meta, said=str(result))
torch.save(found, folder / 'found.pt')
'''


@pytest.fixture(scope='module')
def fresh(tmp_path_factory):
    """Every model saved and then loaded by one fresh process in another folder: name -> (here, there)."""
    folder, away = tmp_path_factory.mktemp('models'), tmp_path_factory.mktemp('away')
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # sums are rounded in another order with more
    torch.manual_seed(0)
    images = torch.randn(2, 3, 32, 32)
    torch.save(images, folder / 'images.pt')
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 48, 3), np.uint8)).save(folder / 'photo.png')
    here = {}
    for name in MODELS:
        model = init_model(config_of(name), device='cpu')
        save_pretrained(model, folder / name)
        with torch.no_grad():
            here[name] = dict(logits=LogitsNetwork(model)(images), meta=model.dataset_meta,
                              said=str(inference_model(model, folder / 'photo.png')))
    torch.set_num_threads(threads)
    env = {**os.environ, 'PYTHONPATH': str(ROOT), 'OMP_NUM_THREADS': '1'}
    done = subprocess.run([sys.executable, '-c', SCRIPT, folder], cwd=away, env=env, text=True, capture_output=True)
    assert done.returncode == 0, done.stderr
    there = torch.load(folder / 'found.pt')
    return {name: (here[name], there[name]) for name in MODELS}


@pytest.mark.parametrize('name', MODELS)
def test_a_fresh_process_without_the_config_has_the_same_model(fresh, name):
    here, there = fresh[name]
    assert here['logits'].std() > 0 and torch.equal(here['logits'], there['logits'])
    assert here['meta'] == there['meta'] and len(there['meta']['classes']) == 3
    assert here['said'] == there['said']


def test_what_the_config_says(tmp_path):
    cfg = small_segmentor()
    cfg.model.backbone.update(out_indices=(-1, ), pretrained='/home/me/secret.npz',
                              init_cfg=dict(type='Pretrained', checkpoint='/home/me/secret.pth'))
    cfg.model.decode_head.loss_decode = dict(type='CrossEntropyLoss', class_weight='/home/me/weights.npy')
    np.save(tmp_path / 'weights.npy', np.ones(3))
    cfg.model.decode_head.loss_decode.class_weight = str(tmp_path / 'weights.npy')
    folder = save_pretrained(init_model(cfg, device='cpu'), tmp_path / 'saved')
    text = (folder / 'config.json').read_text()
    info = json.loads(text)
    assert '/home/me' not in text and str(tmp_path) not in text
    assert info['classes'] == ['sky', 'road', 'car'] and info['palette'][0] == [255, 0, 0]
    assert info['id2label'] == {'0': 'sky', '1': 'road', '2': 'car'} and info['task'] == 'segmentation'
    assert info['mean'] == [127.5] * 3 and info['std'] == [127.5] * 3 and info['channel_order'] == 'RGB'
    assert info['image_size'] == [32, 32] and info['format_version'] == 1
    assert info['parameters'] == sum(v.size for v in map(np.asarray, load_file(folder / 'model.safetensors').values()))
    assert info['versions']['torch'] == torch.__version__.partition('+')[0]
    assert from_pretrained(folder, 'cpu').cfg.model.backbone.out_indices == (-1, )
    assert sorted(path.name for path in folder.iterdir()) == [
        'README.md', 'config.json', 'model.safetensors', 'preprocessor_config.json']


@pytest.mark.parametrize('part, shape', [('backbone', (2, 24)), ('head', (2, 3))])
def test_a_part(tmp_path, part, shape):
    model = init_model(small_classifier(), device='cpu')
    saved = from_pretrained(save_pretrained(model, tmp_path / part, part=part), 'cpu')
    inputs = torch.randn(2, 3, 32, 32) if part == 'backbone' else (torch.randn(2, 24), )
    with torch.no_grad():
        own, found = (network(inputs) for network in (getattr(model, part), saved))
    own, found = (value[0] if isinstance(value, tuple) else value for value in (own, found))
    assert own.shape == shape and torch.equal(own, found) and not saved.training
    again = from_pretrained(save_pretrained(saved, tmp_path / 'again'), 'cpu')
    assert all(torch.equal(value, again.state_dict()[key]) for key, value in saved.state_dict().items())
    info = json.loads((tmp_path / part / 'config.json').read_text())
    assert info['part'] == part and 'classes' not in info


def test_a_bare_backbone(tmp_path):
    cfg = dict(type='mmwhitebox.WhiteBoxTransformer', arch=small_classifier().model.backbone.arch, img_size=16,
               patch_size=8)
    bare = MMENGINE_MODELS.build(cfg).eval()
    saved = from_pretrained(save_pretrained(bare, tmp_path / 'bare', cfg=cfg), 'cpu')
    images = torch.randn(1, 3, 16, 16)
    assert torch.equal(bare(images)[0], saved(images)[0])
    with pytest.raises(UserError, match='has no config: give cfg'):
        save_pretrained(bare, tmp_path / 'none')


def test_the_card(tmp_path):
    cfg = small_segmentor()
    model = build_model('cbt_mini_imagenet', backbone__with_cp=False)
    assert model.training
    folder = save_pretrained(model, tmp_path / 'unstated')
    page = (folder / 'README.md').read_text()
    assert '## Licence\n\nNot stated.' in page and 'None are known of these weights.' in page
    assert 'lr=0.002, weight_decay=0.05), gradients clipped (max_norm=1.0) |' in page and 'RandomFlip' in page
    assert '| length | 24 epochs |' in page and '| start | from scratch |' in page
    assert 'license' not in yaml.safe_load(page.split('---')[1])
    metrics = dict(on='test', scores={'mIoU': 51.5, 'aAcc': 70.}, intervals={'mIoU': [50., 53.25]}, images=20,
                   classes={'IoU': {'sky': 80., 'road': None}}, bootstrap=dict(level=0.95, draws=1000))
    folder = save_pretrained(init_model(cfg, device='cpu'), tmp_path / 'stated', metrics=metrics, licence='cc-by-4.0',
                             name='My: model | "1"')
    _, front, page = (folder / 'README.md').read_text().split('---\n', 2)
    front = yaml.safe_load(front)
    assert front['license'] == 'cc-by-4.0' and front['library_name'] == 'mmwhitebox'
    assert front['pipeline_tag'] == 'image-segmentation'
    entry = front['model-index'][0]
    assert entry['name'] == 'My: model | "1"'
    values = {metric['type']: metric['value'] for result in entry['results'] for metric in result['metrics']}
    assert values == {'mean_iou': 51.5, 'accuracy': 70.}
    assert '| mIoU | 51.50 [50.00, 53.25] |' in page and '| aAcc | 70.00 |' in page and '| road | - |' in page
    assert 'On the test set, 20 images' in page and '95 %, bootstrap over the images with 1000 draws' in page


def test_a_saved_model_is_replaced_and_other_files_are_not(tmp_path):
    first, second = (init_model(small_classifier(arch), device='cpu') for arch in ('cbt-tiny', 'vit-tiny'))
    folder = save_pretrained(first, tmp_path / 'saved')
    assert (folder / 'preprocessor_config.json').is_file()
    (folder / 'notes.txt').write_text('mine')
    second.test_pipeline.steps[1]['backend'] = 'cv2'
    save_pretrained(second, folder)
    assert sorted(path.name for path in folder.iterdir()) == ['README.md', 'config.json', 'model.safetensors',
                                                              'notes.txt']
    assert set(safe_load(folder / 'model.safetensors')) == set(second.state_dict())
    other = tmp_path / 'project'
    other.mkdir()
    (other / 'README.md').write_text('of a project')
    with pytest.raises(UserError, match='has a README.md of something else'):
        save_pretrained(first, other)
    assert (other / 'README.md').read_text() == 'of a project' and len(list(tmp_path.iterdir())) == 2
    (other / 'README.md').unlink()
    for name, text in {'config.json': '{"model_type": "vit"}', 'model.safetensors': 'of transformers'}.items():
        (other / name).write_text(text)
    with pytest.raises(UserError, match='has a model.safetensors of something else'):
        save_pretrained(first, other)
    assert (other / 'model.safetensors').read_text() == 'of transformers'


def test_mistakes_are_said_and_leave_nothing(tmp_path):
    model = init_model(small_classifier(), device='cpu')
    with pytest.raises(UserError, match="has no part 'decode_head'. It has data_preprocessor, backbone, head"):
        save_pretrained(model, tmp_path / 'saved', part='decode_head')
    (tmp_path / 'file').write_text('')
    with pytest.raises(UserError, match='is a file'):
        save_pretrained(model, tmp_path / 'file')
    with pytest.raises(UserError, match='revision'):
        from_pretrained(save_pretrained(model, tmp_path / 'saved'), revision='main')
    with pytest.raises(UserError, match='There is no|no device|does not exist|sees none|cuda:9'):
        from_pretrained(tmp_path / 'saved', 'cuda:9')
    cfg = Config(dict(model.cfg.to_dict()))
    cfg.model.backbone.patch_size = 4
    with pytest.raises(UserError, match=f'^The model cannot be saved: Checkpoint {tmp_path}/other/model.safetensors'):
        save_pretrained(model, tmp_path / 'other', cfg=cfg)
    cfg.model.backbone.arch.attention.type = 'builtins.print'
    with pytest.raises(UserError, match='model.backbone.arch.attention.type of the config is'):
        save_pretrained(model, tmp_path / 'other', cfg=cfg)
    assert sorted(path.name for path in tmp_path.iterdir()) == ['file', 'saved']


def test_classes_of_configs_become_names(tmp_path):
    """As lazily imported configs have them."""
    model = init_model(small_classifier(), device='cpu')
    cfg = Config(model.cfg.to_dict())
    cfg.model.type = type(model)
    cfg.model.backbone.type = 'mmwhitebox.models.backbones.WhiteBoxTransformer'
    cfg.model.head.type = type(model.head)
    folder = save_pretrained(model, tmp_path / 'saved', cfg=cfg)
    info = json.loads((folder / 'config.json').read_text())
    assert info['model']['type'] == 'mmpretrain.ImageClassifier'
    assert info['model']['backbone']['type'] == 'mmwhitebox.WhiteBoxTransformer'
    assert info['name'] == 'WhiteBoxTransformer + LinearClsHead'
    assert from_pretrained(folder, 'cpu').dataset_meta['classes'] == CLASSES


def test_images_of_four_channels(tmp_path):
    cfg = small_segmentor()
    shown = dict(channels=4, display=[4, 1, 2], channel_axis=None, value_range=[0, 4095])
    cfg.model.backbone.in_channels = 4
    cfg.model.data_preprocessor.update(mean=[1., 2., 3., 4.], std=[5.] * 4, bgr_to_rgb=False)
    cfg.test_pipeline[0].update(channels=4, value_range=(0, 4095))
    cfg.test_dataloader.dataset.metainfo.shown = shown
    model = init_model(cfg, device='cpu')
    folder = save_pretrained(model, tmp_path / 'saved')
    loaded = from_pretrained(folder, 'cpu')
    assert loaded.dataset_meta == model.dataset_meta and loaded.dataset_meta['shown'] == shown
    assert loaded.cfg.test_pipeline[0].value_range == (0, 4095)
    image = np.random.default_rng(0).integers(0, 4095, (32, 40, 4)).astype(np.uint16)
    own, found = (inference_model(network, image) for network in (model, loaded))
    assert np.array_equal(own.probabilities, found.probabilities) and np.array_equal(own.overlay, found.overlay)
    page = (folder / 'README.md').read_text()
    assert 'mean [1.0, 2.0, 3.0, 4.0], standard deviation [5.0, 5.0, 5.0, 5.0] of pixels (value - 0) * 255 / ' in page
    assert not (folder / 'preprocessor_config.json').exists()


def test_half_precision_is_kept(tmp_path):
    model = init_model(small_classifier(), device='cpu').bfloat16()
    folder = save_pretrained(model, tmp_path / 'saved')
    assert {value.dtype for value in load_file(folder / 'model.safetensors').values()
            if value.is_floating_point()} == {torch.bfloat16}
    loaded = from_pretrained(folder, 'cpu').state_dict()
    assert all(torch.equal(value.float(), loaded[key]) for key, value in model.state_dict().items())
    assert json.loads((folder / 'config.json').read_text())['mean'] == [123.675, 116.28, 103.53]


def test_weights_that_are_nan_are_kept(tmp_path):
    model = init_model(small_classifier(), device='cpu')
    with torch.no_grad():
        next(model.backbone.parameters()).fill_(float('nan'))
    loaded = from_pretrained(save_pretrained(model, tmp_path / 'saved'), 'cpu')
    assert next(loaded.backbone.parameters()).isnan().all()
