"""A folder of a stranger cannot run, read or fetch anything, nor claim what it has not; it is refused by name."""
import inspect
import json
import os
import pickle
import time

import pytest
import torch
from safetensors.torch import load_file, save_file

from mmwhitebox.apis import from_pretrained, init_model, save_pretrained
from mmwhitebox.apis.allotment import Allotment
from mmwhitebox.config.pretrained import pretrained_config
from mmwhitebox.config.untrusted import MODEL_PARTS, STEPS, find, why_not
from mmwhitebox.errors import CheckpointError, UserError
from tests.test_apis.pretrained_models import small_segmentor


@pytest.fixture(scope='module')
def original(tmp_path_factory):
    """A good folder; its files as bytes."""
    folder = save_pretrained(init_model(small_segmentor(), device='cpu'), tmp_path_factory.mktemp('good') / 'model')
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture
def folder(original, tmp_path):
    """A copy of it, to be spoilt."""
    path = tmp_path / 'stranger'
    path.mkdir()
    for name, content in original.items():
        (path / name).write_bytes(content)
    return path


def spoil(folder, place, value):
    """Set what stands at a place of config.json, ``model.backbone.type``."""
    info = json.loads((folder / 'config.json').read_text())
    *keys, last = place.split('.')
    node = info
    for key in keys:
        node = node[int(key) if isinstance(node, list) else key]
    if isinstance(node, list):
        node[int(last)] = value
    elif value is ...:
        del node[last]
    else:
        node[last] = value
    (folder / 'config.json').write_text(json.dumps(info))


def refused(folder, match=None):
    """The message with which a folder is refused, in one line, by Python and by the commands alike."""
    with pytest.raises(CheckpointError, match=match) as caught:
        from_pretrained(folder, 'cpu')
    assert '\n' not in str(caught.value) and folder.name in str(caught.value)
    return str(caught.value)


class Runs:
    """Leaves a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), 'w')


@pytest.mark.parametrize('name', ['os.system', 'mmengine.dump', 'mmengine.model.BaseModel', 'builtins.print',
                                  'subprocess.Popen', 'mmwhitebox.apis.init_model', 'mmseg.apis.init_model', 'Nothing',
                                  'mmdet.Mask2Former', 'os', '', ' ', '.', 'EncoderDecoder.__init__', '../x', 5, None,
                                  ['EncoderDecoder'], {'type': 'os.system'}, 'torchvision/Lambda',
                                  'evil.Conv2d', 'evil.Resize', 'mmengine.model.Conv2d', 'mmcv.transforms.Resize'])
@pytest.mark.parametrize('place', ['model.type', 'model.backbone.type', 'model.decode_head.attention.type',
                                   'model.data_preprocessor.type', 'test_pipeline.1.type'])
def test_names_that_no_registry_has(folder, place, name):
    spoil(folder, place, name)
    refused(folder)
    with pytest.raises(CheckpointError):
        pretrained_config(folder)


@pytest.mark.parametrize('name', ['mmpretrain.HuggingFaceClassifier', 'mmpretrain.TimmClassifier', 'mmseg.VPD',
                                  'mmpretrain.TIMMBackbone', 'mmseg.TIMMBackbone', 'mmseg.CLIPTextEncoder',
                                  'mmpretrain.Blip2Caption', 'mmpretrain.ImageToImageRetriever'])
def test_classes_that_fetch_when_they_are_built(folder, name):
    assert find(name, 'mmseg', MODEL_PARTS) is not None
    spoil(folder, 'model.backbone', dict(type=name, model_name='hub'))
    refused(folder, 'it reads or fetches something when it is built')


@pytest.mark.parametrize('name', ['mmseg.LoadBiomedicalImageFromFile', 'mmseg.LoadImageFromNpyFile',
                                  'mmseg.LoadAnnotations', 'mmwhitebox.LoadSegAnnotation', 'LoadAnnotations',
                                  'mmseg.LoadSingleRSImageFromFile', 'mmseg.InferencerLoader',
                                  'mmseg.LoadDepthAnnotation'])
@pytest.mark.parametrize('step', [0, 1])
def test_steps_that_read_other_files_than_the_image(folder, step, name):
    assert find(name, 'mmseg', STEPS) is not None
    spoil(folder, f'test_pipeline.{step}', dict(type=name))
    refused(folder, 'it reads other files than the image')


def test_steps_without_a_loader_and_nested_ones(folder):
    spoil(folder, 'test_pipeline', [dict(type='PackSegInputs')])
    refused(folder, 'does not begin with a step that loads the image')
    spoil(folder, 'test_pipeline', [dict(type='LoadImageFromFile'), dict(
        type='RandomApply', transforms=[dict(type='os.system', command='true')])])
    refused(folder, r"test_pipeline\.1\.transforms\.0\.type is 'os\.system'")
    for steps in ([], 'LoadImageFromFile', {'type': 'LoadImageFromFile'}, [5]):
        spoil(folder, 'test_pipeline', steps)
        refused(folder, 'test_pipeline is no list of steps')


@pytest.mark.parametrize('key, value', [
    ('pretrained', True), ('pretrained', 'x'), ('init_cfg', dict(type='Pretrained', checkpoint='x')),
    ('checkpoint', 'x'), ('checkpoint_path', 'x'), ('pretrained_cfg', dict(file='x')), ('load_from', 'x'),
    ('custom_imports', dict(imports=['x'])), ('_delete_', True), ('_base_', 'x'),
    ('backend_args', dict(backend='http')), ('file_client_args', dict(backend='petrel')), ('cache_dir', 'x'),
    ('codebook_init_path', 'x'), ('answer_list_path', 'x'), ('url', 'x')])
@pytest.mark.parametrize('place', ['model', 'model.backbone', 'model.backbone.model_kwargs', 'test_pipeline.0'])
def test_arguments_that_read_fetch_or_run(folder, place, key, value):
    spoil(folder, f'{place}.{key}', value)
    assert f'{place}.{key} would fetch or read' in refused(folder)


@pytest.mark.parametrize('value', [
    'weights.pkl', '/etc/passwd', '../x', 'x\\y', 'http://localhost/x', 'hf-hub:stranger/model', 'local-dir:.', '~/x',
    'x.npy', 'X.PKL', "float32 if __import__('os') else 0", '{{$HOME}}', 'a\nb', 'x' * 300, 'é.json'])
@pytest.mark.parametrize('place', ['model.backbone.model_name', 'model.decode_head.class_weight', 'test_pipeline.0.x'])
def test_texts_that_could_be_files_addresses_or_code(folder, place, value):
    spoil(folder, place, value)
    refused(folder, 'would fetch or read' if 'class_weight' in place else 'could be the name of a file or an address')


@pytest.mark.parametrize('name', ['pkl', 'pickle', 'json', 'npy'])
def test_weights_of_classes_are_numbers(folder, monkeypatch, name):
    """mmengine reads a file whose whole name is a suffix, too."""
    monkeypatch.chdir(folder)
    (folder / name).write_bytes(b'[1]')
    spoil(folder, 'model.decode_head.loss_decode', dict(type='CrossEntropyLoss', class_weight=name))
    refused(folder, 'would fetch or read')


@pytest.mark.parametrize('place, name', [
    ('model.type', 'CBSA'), ('model.backbone.type', 'ISTA'), ('model.data_preprocessor.type', 'CBSA'),
    ('model.decode_head.type', 'OHEMPixelSampler'), ('model.type', '.EncoderDecoder'),
    ('model.backbone.type', 'Mixup')])
def test_a_name_of_another_registry_is_no_module(folder, monkeypatch, place, name):
    (folder / f'{name.strip(".")}.py').write_text('raise SystemExit("ran")')
    monkeypatch.syspath_prepend(str(folder))
    spoil(folder, place, name)
    refused(folder, 'no registry')


@pytest.mark.parametrize('place, value', [
    ('test_pipeline.1', {}), ('model.test_cfg', None), ('model.data_preprocessor', None), ('test_pipeline.0.odd', 1),
    ('shown', {'a': [[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]})])
def test_what_builds_nothing_is_said_in_a_line(folder, place, value):
    spoil(folder, place, value)
    if place == 'model.test_cfg':
        from_pretrained(folder, 'cpu')
    else:
        refused(folder)


def test_a_link_to_itself_is_refused(folder):
    (folder / 'config.json').unlink()
    (folder / 'config.json').symlink_to('config.json')
    refused(folder, 'link')


@pytest.mark.parametrize('scope', ['os', 'mmdet', 'numpy', '', 'mmwhitebox.apis', None, 3, ['mmseg']])
def test_scopes(folder, scope):
    spoil(folder, 'default_scope', scope)
    refused(folder)
    spoil(folder, 'default_scope', 'mmseg')
    spoil(folder, 'model.backbone._scope_', scope)
    refused(folder)


@pytest.mark.parametrize('text', ['NaN', 'Infinity', '-Infinity', '1e999', '99999999999', '-5', '0', '1.5', '"8"', '[]',
                                  '{}', 'null', 'true'])
@pytest.mark.parametrize('key', ['patch_size', 'embed_dim', 'depth'])
def test_sizes_that_are_none(folder, key, text):
    if (key, text) in {('depth', '0'), ('depth', 'true'), ('embed_dim', 'null')}:
        return  # what the model makes of these need not fail before its weights do not fit
    config = folder / 'config.json'
    info = json.loads(config.read_text())
    info['model']['backbone']['model_kwargs'][key] = '@'
    config.write_text(json.dumps(info).replace('"@"', text))
    with pytest.raises(UserError) as caught:
        from_pretrained(folder, 'cpu')
    assert str(caught.value)


@pytest.mark.parametrize('options', [dict(embed_dim=100000, num_heads=2), dict(depth=1000000), dict(mlp_ratio=1e9),
                                     dict(embed_dim=1000000, num_heads=1000000, depth=1000000)])
def test_a_model_far_larger_than_its_weights_is_not_built(folder, options):
    for key, value in options.items():
        spoil(folder, f'model.backbone.model_kwargs.{key}', value)
    start = time.process_time()
    refused(folder, 'far larger than its weights|cannot be built')
    assert time.process_time() - start < 20


def test_tensors_count_together():
    with pytest.raises(CheckpointError, match='it was refused'), Allotment(1000, 100, 'it'):
        assert torch.zeros(150).nbytes == 600
        torch.zeros(150)


@pytest.mark.parametrize('content', [b'', b'{', b'[]', b'null', b'\xff\xfe', b'"mmwhitebox"', b'[' * 100000,
                                     b'{"a":' * 100000, b'{"format": NaN}'], ids=lambda content: repr(content[:8]))
def test_a_broken_config(folder, content):
    (folder / 'config.json').write_bytes(content)
    refused(folder, 'config.json (cannot be read|is not the config of a model)')


def test_other_formats_and_versions(folder):
    spoil(folder, 'format_version', 2)
    refused(folder, 'format version 2, this release reads 1')
    spoil(folder, 'format_version', ...)
    refused(folder, 'format version None')
    spoil(folder, 'format', 'timm')
    refused(folder, 'is not the config of a model of mmwhitebox')


@pytest.mark.parametrize('place, value, match', [
    ('classes', ..., 'has no list of classes'), ('classes', None, 'has no list of classes'),
    ('classes', [], 'has no list of classes'), ('classes', 'sky', 'has no list of classes'),
    ('classes', ['a', 'b', '\x1b[2J'], 'is no name to be shown'), ('classes', ['a', 'b', 'c' * 999], 'is no name'),
    ('classes', [1, 2, 3], 'has no list of classes'), ('classes', ['sky', 'road'], 'names 2 classes, its model tells'),
    ('palette', [[0, 0, 0]], 'no list of 3 RGB colours'), ('palette', [[0, 0, 256]] * 3, 'no list of 3 RGB colours'),
    ('palette', 5, 'no list of 3 RGB colours'), ('shown', 5, '"shown" is no dict'), ('task', 'x', "its task is 'x'"),
    ('task', 'classification', 'its model is not one of classification'), ('model', [], 'its model is no dict'),
    ('model', {}, 'its model is no dict'), ('tuples', 5, '"tuples" is no list'), ('custom_imports', {'imports': ['os']},
                                                                                'would run code')])
def test_what_is_missing_or_does_not_fit(folder, place, value, match):
    spoil(folder, place, value)
    refused(folder, match)


def test_a_missing_or_other_argument(folder):
    spoil(folder, 'model.backbone.nonsense', 5)
    with pytest.raises(UserError, match='model.backbone .*nonsense'):
        from_pretrained(folder, 'cpu')
    spoil(folder, 'model.backbone.nonsense', ...)
    spoil(folder, 'model.decode_head', ...)
    refused(folder, 'its model is not one of segmentation')


def test_weights_that_are_pickles_are_never_read(folder, tmp_path):
    code = pickle.dumps(Runs(tmp_path / 'ran'))
    for name in ('pytorch_model.bin', 'model.pkl', 'model.pth', 'training_args.bin'):
        (folder / name).write_bytes(code)
    (folder / 'modeling.py').write_text(f'open({str(tmp_path / "ran")!r}, "w")')
    from_pretrained(folder, 'cpu')
    (folder / 'model.safetensors').write_bytes(code)
    refused(folder, 'model.safetensors cannot be read as safetensors')
    (folder / 'model.safetensors').unlink()
    refused(folder, 'has no model.safetensors.*model.pkl is not read: it can run code')
    assert not (tmp_path / 'ran').exists()


@pytest.mark.parametrize('name', ['model.safetensors', 'config.json'])
def test_links_out_of_the_folder(folder, tmp_path, name):
    outside = tmp_path / 'outside'
    (folder / name).rename(outside)
    (folder / name).symlink_to(outside)
    refused(folder, f'{name} was refused: it is a link out of its folder')
    (folder / name).unlink()
    (folder / name).symlink_to('/dev/zero')
    refused(folder, 'link out of its folder')
    (folder / name).unlink()
    (folder / name).symlink_to(tmp_path / 'nowhere')
    refused(folder, 'link out of its folder')
    (folder / name).unlink()
    os.mkfifo(folder / name)
    refused(folder, 'it is no file')
    (folder / name).unlink()
    (folder / name).mkdir()
    refused(folder, 'it is no file')


def test_links_of_the_cache_of_the_hub_and_those_that_only_look_so(folder, tmp_path):
    repo = tmp_path / 'models--a--b'
    for name in ('snapshots', 'blobs'):
        (repo / name).mkdir(parents=True)
    snapshot = repo / 'snapshots' / 'stranger'
    folder.rename(snapshot)
    (snapshot / 'config.json').rename(repo / 'blobs' / 'abc')
    (snapshot / 'config.json').symlink_to('../../blobs/abc')
    from_pretrained(snapshot, 'cpu')
    outside = tmp_path / 'outside'
    (repo / 'blobs').rename(outside)
    (repo / 'blobs').symlink_to(outside)
    refused(snapshot, 'link out of its folder')


def test_weights_of_another_model(folder):
    weights = folder / 'model.safetensors'
    tensors = load_file(weights)
    key = 'backbone.vit.pos_embed'
    assert key in tensors
    save_file({name: value for name, value in tensors.items() if name != key}, weights)
    with pytest.raises(CheckpointError, match=f'1 keys the file lacks: {key}'):
        from_pretrained(folder, 'cpu')
    save_file({**tensors, 'more': torch.zeros(1)}, weights)
    with pytest.raises(CheckpointError, match='1 keys the model lacks: more'):
        from_pretrained(folder, 'cpu')
    save_file({**tensors, 'decode_head.cls_emb': torch.zeros(2)}, weights)
    with pytest.raises(CheckpointError, match='is not of this model'):
        from_pretrained(folder, 'cpu')
    save_file({**tensors, key: torch.zeros(1, 1 + 36, 16)}, weights)  # which the model would resize
    refused(folder, f'does not have the shapes that its config says: {key}')
    weights.write_bytes(weights.read_bytes()[:-100])
    refused(folder, 'cannot be read as safetensors')


def test_every_class_of_the_stack_that_is_taken_is_a_plain_part():
    """What is taken neither loads checkpoints nor reads files in its constructor."""
    reads = ('load_checkpoint', 'torch.load', 'mmengine.load', 'np.load', 'from_pretrained', 'load_url', 'eval(',
             'open(', 'snapshot_download', 'create_model')
    for root in MODEL_PARTS:
        for node in (root, *root.children.values()):
            for name, cls in node.module_dict.items():
                if inspect.isclass(cls) and why_not(cls, MODEL_PARTS) is None and \
                        cls.__module__.partition('.')[0] in ('mmseg', 'mmpretrain'):
                    code = inspect.getsource(cls.__init__) if '__init__' in vars(cls) else ''
                    assert not [word for word in reads if word in code.replace('.eval(', '')], name
