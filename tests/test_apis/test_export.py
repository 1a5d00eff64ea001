"""Export: every attention and decoder, every format, any image size; the file equals the model."""
import json
import runpy
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmengine.config import Config
from safetensors import safe_open

import mmwhitebox
from mmwhitebox.apis import export_model, init_model, load_exported
from mmwhitebox.apis.export import LogitsNetwork, default_size
from mmwhitebox.apis.export.card import normalization
from mmwhitebox.checkpoints import safe_load
from mmwhitebox.errors import CheckpointError, UserError
from mmwhitebox.models.attention import BaseAttention
from mmwhitebox.registry import ATTENTIONS
from tests.configs import ROOT

ATTENTIONS_IN_ONNX = ('DMSA', 'TSSA')  # whose graphs are made on the way; MSSA and CBSA: test_export_graphs
ATTENTION_TYPES = sorted(name for name, cls in ATTENTIONS.module_dict.items()
                         if issubclass(cls, BaseAttention) and cls.updates_all_tokens
                         and name not in (*ATTENTIONS_IN_ONNX, 'Linear'))  # the last is the former name of Spectral
SUFFIXES = {'safetensors': '.safetensors', 'onnx': '.onnx', 'torch-export': '.pt2'}  # aot: test_export_graphs
COLOURS = [[255, 0, 0], [0, 255, 0], [0, 0, 255]]
CBT = dict(type='mmwhitebox.WhiteBoxMaskHead', num_layers=1,
           attention=dict(type='CBSA', num_heads=2, head_dims=6, pool_size=3))
DEPICT = dict(type='mmwhitebox.WhiteBoxMaskHead', num_layers=1,
              attention=dict(type='MSSA', num_heads=2, head_dims=6, out_proj='shared'),
              class_attention=dict(type='MSCA', num_heads=2, head_dims=6), num_class_layers=1)
SEGMENTER = dict(type='SegmenterMaskTransformerHead', embed_dims=16, num_layers=1, num_heads=2)
LINEAR = dict(type='FCNHead', num_convs=0, concat_input=False, kernel_size=1)


def classifier(attention, **arch):
    """A layer of width 16 for each attention, on patches of 8 x 8, three classes."""
    layers = [dict(type=attention)] if isinstance(attention, str) else attention
    arch = dict(embed_dims=16, num_layers=len(layers), num_heads=2, attention=layers, feedforward=dict(type='ISTA'),
                **arch)
    return Config(dict(
        default_scope='mmpretrain',
        model=dict(
            type='ImageClassifier',
            data_preprocessor=dict(type='ClsDataPreprocessor', mean=[123.675, 116.28, 103.53],
                                   std=[58.395, 57.12, 57.375], to_rgb=True),
            backbone=dict(type='mmwhitebox.WhiteBoxTransformer', arch=arch, img_size=32, patch_size=8),
            head=dict(type='LinearClsHead', num_classes=3, in_channels=16)),
        test_dataloader=dict(dataset=dict(
            type='CustomDataset', metainfo=dict(classes=['cat', 'dog', 'cow'])))))


def segmentor(head, **encoder):
    """A ViT of one layer on patches of 8 x 8, three classes."""
    return Config(dict(
        default_scope='mmseg',
        model=dict(
            type='EncoderDecoder',
            data_preprocessor=dict(type='SegDataPreProcessor', mean=[127.5] * 3, std=[127.5] * 3,
                                   bgr_to_rgb=True, size=(32, 32)),
            backbone=dict(type='mmwhitebox.TimmViT', model_name='vit_tiny_patch16_384', img_size=32,
                          model_kwargs=dict(patch_size=8, embed_dim=16, depth=1, num_heads=2), **encoder),
            decode_head=dict(in_channels=16, channels=16, num_classes=3, **head),
            test_cfg=dict(mode='whole')),
        test_dataloader=dict(dataset=dict(
            type='BaseSegDataset', metainfo=dict(classes=['sky', 'road', 'car'], palette=COLOURS)))))


@pytest.fixture
def export(tmp_path):
    """Export a config with random weights and load the file: (card, original network, loaded one)."""

    def run(cfg, file_format, **kwargs):
        if file_format == 'onnx':
            pytest.importorskip('onnxscript')
            pytest.importorskip('onnxruntime')
        model = init_model(cfg, device='cpu')
        torch.save(dict(state_dict=model.state_dict()), tmp_path / 'trained.pth')
        out = tmp_path / 'exported' / f'model{SUFFIXES[file_format]}'
        card = export_model(cfg, tmp_path / 'trained.pth', out, file_format, **kwargs)
        assert sorted(path.name for path in out.parent.iterdir()) == [out.name, f'{out.name}.json']
        assert json.loads((out.parent / f'{out.name}.json').read_text()) == json.loads(json.dumps(card))
        return card, LogitsNetwork(model), load_exported(out, trust=True)

    return run


def assert_equal_on(sizes, network, exported, batch=1):
    for size in sizes:
        images = torch.randn(batch, 3, *size)
        with torch.no_grad():
            expected = network(images)
        tolerance = 1e-4 * expected.abs().max().item()
        torch.testing.assert_close(exported(images), expected, rtol=0, atol=tolerance)


def test_every_attention_as_a_graph_for_any_size(export):
    """A layer of each, on grids below and above the pool of CBSA and Agent, and of the table's own grid."""
    cfg = classifier([dict(type=name) for name in ATTENTION_TYPES], stem=dict(type='PatchConv'))
    card, network, exported = export(cfg, 'torch-export', dynamic=True)
    assert_equal_on([(32, 32), (16, 64), (96, 72)], network, exported)
    assert card['dynamic'] and card['agreement']['sizes'] == [[32, 32], [24, 48]]


def test_attentions_in_onnx_for_any_size(export):
    """With the stem, the positions and the class layers of ToST."""
    cfg = classifier([dict(type=name) for name in ATTENTIONS_IN_ONNX], stem=dict(type='ConvStem'),
                     position=dict(type='FourierPositions'), num_class_layers=1, layer_scale_init_value=1.)
    card, network, exported = export(cfg, 'onnx', dynamic=True)
    assert_equal_on([(32, 32), (16, 64), (96, 72)], network, exported)
    assert card['agreement']['relative'] < 1e-5 and card['agreement']['sizes'] == [[32, 32], [24, 48]]
    assert card['opset'] == 18 and card['batch_size'] is None and card['agreement']['batches'] == [1, 3]


@pytest.mark.parametrize('head, file_format', [
    (CBT, 'safetensors'), (DEPICT, 'safetensors'), (SEGMENTER, 'safetensors'),
    (DEPICT, 'torch-export')])  # the others as graphs: in ONNX, below and in test_export_graphs
def test_decoders(export, head, file_format):
    _, network, exported = export(segmentor(head), file_format, dynamic=file_format == 'torch-export')
    assert_equal_on([(32, 32), (24, 80)], network, exported)


def test_segmenter_and_its_positions_keep_their_rules_in_onnx(export, tmp_path):
    """A table of 4 x 4 is taken as it is by a grid of 2 x 8, and interpolated to all others."""
    head = dict(SEGMENTER, align_corners=True)
    _, network, exported = export(segmentor(head, interpolate_mode='bilinear'), 'onnx', dynamic=True, opset=23)
    file = pytest.importorskip('onnx').load(tmp_path / 'exported' / 'model.onnx')
    graph = file.graph
    assert [[dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim]
            for value in (*graph.input, *graph.output)] == 2 * [['batch', 3, 'height', 'width']]
    assert {entry.domain: entry.version for entry in file.opset_import} == {'': 23}
    assert {node.domain for node in graph.node} == {''} and not file.functions
    assert_equal_on([(32, 32), (16, 64), (24, 40)], network, exported, batch=2)
    images = torch.randn(1, 3, 24, 40)
    with torch.no_grad():
        expected = network.model.encode_decode(images, [dict(ori_shape=(24, 40), img_shape=(24, 40))])
    torch.testing.assert_close(exported(images), expected, rtol=0, atol=1e-4 * expected.abs().max().item())


def test_safetensors_serve_as_a_checkpoint_too(export, tmp_path):
    cfg = segmentor(CBT)
    _, network, exported = export(cfg, 'safetensors')
    again = init_model(cfg, tmp_path / 'exported' / 'model.safetensors', device='cpu')
    images = torch.randn(1, 3, 24, 40)
    with torch.no_grad():
        assert torch.equal(LogitsNetwork(again)(images), network(images))
    assert torch.equal(exported(images.numpy()), exported(images))


@pytest.mark.parametrize('file_format, head, options', [
    ('safetensors', CBT, {}), ('torch-export', DEPICT, {}), ('onnx', LINEAR, dict(size=(24, 40), batch=2))])
def test_card(export, file_format, head, options):
    card, network, exported = export(segmentor(head), file_format, **options)
    assert exported.card | dict(agreement=None) == json.loads(json.dumps(card | dict(agreement=None)))
    expected = dict(
        task='segmentation', classes=['sky', 'road', 'car'], palette=COLOURS,
        mean=[127.5] * 3, std=[127.5] * 3, channel_order='RGB', input_size=list(options.get('size', (32, 32))),
        batch_size=None if file_format == 'safetensors' else options.get('batch', 1), size_multiple_of=[8, 8],
        format=file_format, dynamic=file_format == 'safetensors', dtype='float32', processing=False,
        mmwhitebox=mmwhitebox.__version__, torch=torch.__version__,
        model=f'TimmViT vit_tiny_patch16_384 + {head["type"].rpartition(".")[2]}', source_checkpoint='trained.pth',
        parameters=sum(p.numel() for p in network.parameters()))
    assert {key: exported.card[key] for key in expected} == expected
    assert card['flops'] > 0 and len(card['source_sha256']) == 64
    assert exported.card['agreement']['max_abs_difference'] == card['agreement']['max_abs_difference'] < 1e-4
    assert_equal_on([tuple(card['input_size'])], network, exported, card['batch_size'] or 1)
    if file_format == 'onnx':
        with pytest.raises(UserError, match=r'takes 2 images of 24 x 40, these are 2 of 32 x 32. With --dynamic'):
            exported(torch.randn(2, 3, 32, 32))


def test_classification_metadata(export, tmp_path):
    """In the file, as JSON values, for readers that know nothing of this package."""
    card, _, _ = export(classifier('TSSA'), 'safetensors')
    with safe_open(tmp_path / 'exported' / 'model.safetensors', 'pt') as file:
        stored = {key: json.loads(value) for key, value in file.metadata().items()}
    assert stored['classes'] == ['cat', 'dog', 'cow'] and stored['mean'] == [123.675, 116.28, 103.53]
    assert stored['task'] == 'classification' and 'palette' not in stored
    assert stored['output'] == 'logits: float32 (B, classes)' and stored['agreement'] == card['agreement']


def test_normalization_without_values():
    preprocessor = torch.nn.Module()
    assert normalization(preprocessor) == dict(mean=[0.] * 3, std=[1.] * 3, channel_order='BGR')


def test_default_size():
    assert default_size(segmentor(CBT)) == (32, 32) and default_size(classifier('MSSA')) == (32, 32)
    assert default_size(Config(dict(model=dict(backbone=dict())))) == (224, 224)


def test_compared_sizes_are_valid_and_one_is_not_square():
    for size in ((32, 32), (16, 16), (40, 16), (16, 40)):
        network = LogitsNetwork(SimpleNamespace(backbone=SimpleNamespace(patch_size=8)))
        sizes = network.sizes_to_compare(size, dynamic=True)
        assert sizes[0] == size and sizes[0] != sizes[1] and any(h != w for h, w in sizes)
        assert all(h % 8 == w % 8 == 0 and min(h, w) >= 16 for h, w in sizes)


def test_onnx_without_an_operator_names_it(export, tmp_path, monkeypatch):
    forward = LogitsNetwork.forward
    monkeypatch.setattr(LogitsNetwork, 'forward', lambda self, images: torch.linalg.qr(forward(self, images))[1])
    with pytest.raises(UserError, match='ONNX has no operator for aten.linalg_qr'):
        export(classifier('MSSA'), 'onnx')
    assert not list(tmp_path.glob('exported/*'))


def test_onnx_without_its_packages(monkeypatch, tmp_path):
    monkeypatch.setattr('importlib.util.find_spec', lambda name: None)
    with pytest.raises(UserError, match=r'onnx, onnxscript, onnxruntime: pip install "mmwhitebox\[export\]"'):
        export_model(classifier('MSSA'), 'trained.pth', tmp_path / 'model.onnx', 'onnx')


def test_a_graph_that_fits_one_size_only_is_refused(export, tmp_path, monkeypatch):
    """A branch on the size, which a graph cannot hold."""
    forward = LogitsNetwork.forward
    monkeypatch.setattr(LogitsNetwork, 'forward', lambda self, images: (
        forward(self, images) * (2 if images.shape[2] == 24 else 1)))
    with pytest.raises(UserError, match='any image size|does not run on images of 32 x 32'):
        export(classifier('TSSA'), 'torch-export', dynamic=True)
    assert not list(tmp_path.glob('exported/*'))


def test_a_file_that_does_not_agree_is_not_kept(export, tmp_path, monkeypatch):
    from mmwhitebox.apis.export import writing as module
    load = module.load_exported

    def load_wrongly(*args, **kwargs):
        exported = load(*args, **kwargs)
        return lambda images: exported(images) * 1.001

    monkeypatch.setattr(module, 'load_exported', load_wrongly)
    with pytest.raises(UserError, match='differs from the model by .* The file was not kept'):
        export(classifier('MSSA'), 'safetensors')
    assert not list(tmp_path.glob('exported/*'))


@pytest.mark.parametrize('changes, message', [
    (dict(file_format='tflite'), "Unknown format 'tflite'"),
    (dict(out='model.pt'), r'is called \*.safetensors'),
    (dict(size=(32, 30)), 'not a multiple of the patch .8 x 8.. Give --size 32 32'),
    (dict(size=(8, 32)), 'too small: the least is 16 x 16'),
    (dict(batch=0), 'batch size must be positive'),
    (dict(batch=2, dynamic=True), 'takes any batch: leave --batch out'),
    (dict(processing=True), 'holds weights, no graph'),
    (dict(opset=18), '--opset is of ONNX, not of --format safetensors'),
    (dict(file_format='onnx', out='model.onnx', opset=17), '--opset 17 cannot be written: give 18 to 25'),
    (dict(dtype='int4'), "Unknown type 'int4' of the weights. Types: float32, float16, bfloat16"),
    (dict(file_format='onnx', out='model.onnx', dtype='bfloat16'), 'onnxruntime has no operators of bfloat16'),
    (dict(checkpoint='none.pth'), 'none.pth does not exist'),
    (dict(out='trained.pth/model.safetensors'), 'cannot be written'),
])
def test_bad_arguments(tmp_path, changes, message):
    cfg = classifier('MSSA')
    torch.save(dict(state_dict=init_model(cfg, device='cpu').state_dict()), tmp_path / 'trained.pth')
    args = dict(checkpoint='trained.pth', out='model.safetensors', file_format='safetensors') | changes
    args.update(checkpoint=tmp_path / args['checkpoint'], out=tmp_path / args['out'])
    with pytest.raises(UserError, match=message):
        export_model(cfg, **args)
    assert sorted(path.name for path in tmp_path.iterdir()) == ['trained.pth']


def test_bad_files(tmp_path):
    with pytest.raises(UserError, match='unknown suffix. Exported files are .safetensors, .onnx, .pt2'):
        load_exported(tmp_path / 'model.bin')
    with pytest.raises(CheckpointError, match='does not exist'):
        load_exported(tmp_path / 'model.onnx')
    for suffix in SUFFIXES.values():
        (tmp_path / f'model{suffix}').write_text('<html>')
    for suffix in SUFFIXES.values():
        with pytest.raises(CheckpointError, match='cannot be read as an exported model'):
            load_exported(tmp_path / f'model{suffix}', trust=True)
    with pytest.raises(UserError, match='can run code from it'):
        load_exported(tmp_path / 'model.pt2')


def test_safetensors_of_others_are_refused(tmp_path):
    from safetensors.torch import save_file
    weights = dict(w=torch.zeros(1))
    save_file(weights, tmp_path / 'model.safetensors')
    with pytest.raises(CheckpointError, match='has no model card'):
        load_exported(tmp_path / 'model.safetensors')
    config = dict(type='EncoderDecoder', backbone=[dict(type='os.system', command='id')])
    save_file(weights, tmp_path / 'model.safetensors', dict(model_config=json.dumps(config)))
    with pytest.raises(CheckpointError, match="was refused: model.backbone.0.type is 'os.system', which no registry"):
        load_exported(tmp_path / 'model.safetensors')


def run_tool(monkeypatch, *args):
    monkeypatch.setattr(sys, 'argv', ['export.py', *map(str, args)])
    try:
        runpy.run_path(str(ROOT / 'tools' / 'export.py'), run_name='__main__')
    except SystemExit as ended:
        return ended.code
    return 0


def test_tool(monkeypatch, capsys, tmp_path):
    cfg = segmentor(CBT)
    cfg.dump(tmp_path / 'tiny.py')
    torch.save(dict(state_dict=init_model(cfg, device='cpu').state_dict()), tmp_path / 'trained.pth')
    args = [tmp_path / 'tiny.py', tmp_path / 'trained.pth', '--out', tmp_path / 'model.pt2']
    assert run_tool(monkeypatch, *args, '--format', 'torch-export', '--size', 24, 40) == 0
    printed = capsys.readouterr().out
    assert 'TimmViT vit_tiny_patch16_384 + WhiteBoxMaskHead' in printed and 'at 24x40' in printed
    assert 'largest difference from the model' in printed
    exported = load_exported(tmp_path / 'model.pt2', trust=True)
    assert exported.card['config'] == 'tiny'
    assert exported(np.zeros((1, 3, 24, 40), np.float32)).shape == (1, 3, 24, 40)
    assert set(safe_load(tmp_path / 'trained.pth')) == {'state_dict'}
    message = run_tool(monkeypatch, *args, '--format', 'onnx')
    assert message.startswith('error: ') and 'a file of format onnx is called *.onnx' in message


def test_the_card_says_how_images_come_to_the_network(export):
    """Not 0 to 255 where the loading step gives 16 bits; annotations are no part of it."""
    cfg = segmentor(CBT)
    card, *_ = export(cfg, 'safetensors')
    assert card['input'].endswith('pixels from 0 to 255')
    raw = dict(type='LoadImageFromFile', color_type='unchanged', to_float32=True)
    cfg.test_dataloader = dict(dataset=dict(pipeline=[raw, dict(type='LoadAnnotations'), dict(type='PackSegInputs')]))
    card, *_ = export(cfg, 'safetensors')
    assert card['pipeline'] == [raw, dict(type='PackSegInputs')]
    assert card['input'].endswith('as the first step of "pipeline" gives them')


def test_a_card_of_others_reads_no_files(export, tmp_path):
    """What a training reads is left out, what could be a file or fetches something is refused."""
    from safetensors.torch import save_file
    cfg = segmentor(SEGMENTER)
    cfg.model.decode_head.loss_decode = dict(type='CrossEntropyLoss', class_weight=[1., 2., 3.])
    card, network, _ = export(cfg, 'safetensors')
    config = json.loads(json.dumps(card['model_config']))
    state = {key: value.clone() for key, value in network.model.state_dict().items()}

    def load(**changes):
        given = {**config, 'backbone': {**config['backbone'], **changes}}
        save_file(state, tmp_path / 'model.safetensors', dict(model_config=json.dumps(given)))
        return load_exported(tmp_path / 'model.safetensors')

    config['decode_head']['loss_decode']['class_weight'] = str(tmp_path / 'weights.pkl')
    assert_equal_on([(32, 32)], network, load(pretrained='nowhere.npz', init_cfg=dict(type='Pretrained')))
    for changes in (dict(model_name='hf-hub:stranger/model'), dict(type='mmpretrain.TIMMBackbone'),
                    dict(_scope_='numpy')):
        with pytest.raises(CheckpointError, match='model.safetensors was refused: model.backbone'):
            load(**changes)
