"""Graphs that are exported: opsets, free sizes and batches, processing inside, half precision, compiled packages."""
import json
import subprocess
import sys

import numpy as np
import pytest
import torch

from mmwhitebox.apis import ExportedModel, export_model, inference_model, init_model, load_exported
from mmwhitebox.apis.export import substitute
from mmwhitebox.apis.export.agreement import measure_agreement
from mmwhitebox.apis.export.graph import check_onnx
from mmwhitebox.apis.export.processing import ProcessingNetwork, padding_at_test_time
from mmwhitebox.apis.export.solve import solve_by_products
from mmwhitebox.errors import CheckpointError, UserError
from mmwhitebox.registry import MODELS
from tests.test_apis.test_export import CBT, DEPICT, SEGMENTER, classifier, segmentor

onnx = pytest.importorskip('onnx')
onnxruntime = pytest.importorskip('onnxruntime')
DECODERS = dict(cbt=CBT, depict=DEPICT, segmenter=SEGMENTER)
ENCODERS = dict(  # as the arch of that name, reduced
    cbt=dict(attention=dict(type='CBSA'), feedforward=dict(type='ISTA'), stem=dict(type='ConvStem')),
    crate=dict(attention=dict(type='MSSA'), feedforward=dict(type='ISTA'), stem=dict(type='LinearStem')),
    tost=dict(attention=dict(type='TSSA'), feedforward=dict(type='MLP'), stem=dict(type='ConvStem'),
              position=dict(type='FourierPositions'), layer_scale_init_value=1.))


def white_box(encoder, decoder, **preprocessor):
    """One layer of an encoder and of a decoder, on patches of 8 x 8."""
    cfg = segmentor(DECODERS[decoder])
    cfg.model.type = 'mmwhitebox.EncoderDecoder'
    cfg.model.backbone = dict(
        type='mmwhitebox.WhiteBoxTransformer', img_size=32, patch_size=8, out_type='featmap',
        arch=dict(embed_dims=16, num_layers=1, num_heads=2, **ENCODERS[encoder]))
    cfg.model.data_preprocessor.update(preprocessor)
    cfg.test_dataloader.dataset.pipeline = [dict(type='LoadImageFromFile'), dict(type='PackSegInputs')]
    return cfg


def white_box_classifier(attention='MSSA'):
    cfg = classifier(attention)
    cfg.test_dataloader.dataset.pipeline = [
        dict(type='LoadImageFromFile'), dict(type='ResizeEdge', scale=40), dict(type='PackInputs')]
    return cfg


@pytest.fixture
def exported(tmp_path):
    """Export a config with random weights: its card, the model and the file."""

    def run(cfg, name, file_format, **kwargs):
        torch.manual_seed(0)
        model = init_model(cfg, device='cpu')
        torch.save(dict(state_dict=model.state_dict()), tmp_path / 'trained.pth')
        card = export_model(cfg, tmp_path / 'trained.pth', tmp_path / name, file_format, **kwargs)
        return card, model, tmp_path / name

    return run


def run_onnx(path, images):
    """What onnxruntime gives, without this package."""
    session = onnxruntime.InferenceSession(path, providers=['CPUExecutionProvider'])
    return torch.from_numpy(session.run(None, {session.get_inputs()[0].name: images.numpy()})[0])


@pytest.mark.parametrize('encoder, decoder, opset', [
    pytest.param('crate', 'cbt', 18, marks=pytest.mark.slow), ('cbt', 'segmenter', 23),
    pytest.param('tost', 'depict', 25, marks=pytest.mark.slow)])
def test_one_onnx_file_for_all_batches_and_sizes(exported, encoder, decoder, opset):
    card, model, path = exported(white_box(encoder, decoder), 'm.onnx', 'onnx', dynamic=True, opset=opset)
    assert card['opset'] == opset and card['batch_size'] is None and card['agreement']['batches'] == [1, 3]
    file = onnx.load(path)
    assert {entry.domain: entry.version for entry in file.opset_import} == {'': opset}
    assert {node.domain for node in file.graph.node} == {''} and not file.functions
    for batch, size in ((1, (40, 16)), (3, (16, 72)), (2, (32, 32))):
        images = torch.randn(batch, 3, *size)
        with torch.no_grad():
            expected = model.encode_decode(images, [dict(ori_shape=size, img_shape=size)] * batch)
        assert expected.shape == (batch, 3, *size)
        torch.testing.assert_close(run_onnx(path, images), expected, rtol=0, atol=1e-4 * expected.abs().max().item())


def pictures_of(batch, size):
    """Patches of any colours, (B, H, W, 3)."""
    coarse = np.random.default_rng(0).integers(0, 256, (batch, 5, 5, 3), np.uint8)
    return coarse.repeat(10, 1)[:, :size[0]].repeat(14, 2)[:, :, :size[1]]


def assert_labels_as_inferred(run, model):
    """On sizes that are no whole number of patches and one that is."""
    for batch, size in ((1, (21, 45)), (3, (48, 33)), (1, (32, 64))):
        pictures = pictures_of(batch, size)
        labels = run(torch.from_numpy(pictures))
        expected = np.stack([result.mask for result in inference_model(model, list(pictures), rgb=True)])
        assert labels.shape == (batch, *size) and labels.dtype == torch.int64
        assert (labels.numpy() == expected).mean() > 0.995 and len(np.unique(expected)) > 1


@pytest.mark.parametrize('preprocessor', [
    {}, dict(bgr_to_rgb=False, mean=[10., 120., 200.], std=[20., 50., 90.]),
    dict(test_cfg=dict(size_divisor=16), pad_val=7), dict(test_cfg=dict(size_divisor=5), pad_val=7),
    dict(test_cfg=dict(size=(40, 40)))], ids=['plain', 'bgr', 'divisor', 'odd divisor', 'size'])
@pytest.mark.parametrize('encoder', ENCODERS)
def test_pictures_to_label_maps(encoder, preprocessor):
    """As inference gives them for files: channels, normalisation and padding are part of the network."""
    torch.manual_seed(0)
    model = init_model(white_box(encoder, 'segmenter', **preprocessor), device='cpu')
    with torch.no_grad():
        assert_labels_as_inferred(ProcessingNetwork(model), model)


@pytest.mark.parametrize('file_format, name, encoder, decoder, preprocessor', [
    ('onnx', 'm.onnx', 'crate', 'cbt', {}),
    pytest.param('onnx', 'm.onnx', 'tost', 'segmenter', dict(bgr_to_rgb=False), marks=pytest.mark.slow),
    pytest.param('torch-export', 'm.pt2', 'cbt', 'segmenter', dict(test_cfg=dict(size_divisor=16), pad_val=7),
                 marks=pytest.mark.slow),
    pytest.param('torch-export', 'm.pt2', 'crate', 'segmenter', dict(test_cfg=dict(size=(40, 40))),
                 marks=pytest.mark.slow),
])
def test_pictures_of_any_size_to_label_maps_by_a_graph(exported, file_format, name, encoder, decoder, preprocessor):
    card, model, path = exported(white_box(encoder, decoder, **preprocessor), name, file_format, dynamic=True,
                                 processing=True)
    assert card['processing'] and card['before'] == [] and card['size_multiple_of'] == [1, 1]
    assert card['input'].startswith('images: uint8 (B, H, W, 3)') and 'RGB' in card['input']
    assert card['agreement']['equal_labels'] > 0.99 and card['agreement']['sizes'] == [[32, 32], [27, 43]]
    assert_labels_as_inferred(load_exported(path, trust=True), model)


@pytest.mark.slow
def test_pictures_to_scores(exported):
    """What the pipeline does to pictures before them is named by the card."""
    card, model, path = exported(white_box_classifier(), 'm.onnx', 'onnx', dynamic=True, processing=True)
    assert [step['type'] for step in card['before']] == ['ResizeEdge'] and card['output'].startswith('scores')
    graph = onnx.load(path).graph
    assert [[dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim]
            for value in (*graph.input, *graph.output)] == [['batch', 'height', 'width', 3], ['batch', 3]]
    picture = torch.randint(0, 256, (40, 53, 3), dtype=torch.uint8)  # the resizing leaves it as it is
    scores = run_onnx(path, picture[None])
    torch.testing.assert_close(scores[0].numpy(), inference_model(model, picture.numpy(), rgb=True).probabilities,
                               rtol=0, atol=1e-5)


def test_windows_are_no_part_of_it(exported):
    """A config with windows is compared as one whole image, and the model it was made of is left as it was."""
    cfg = white_box('crate', 'segmenter')
    cfg.model.test_cfg = dict(mode='slide', crop_size=(16, 16), stride=(8, 8))
    card, *_ = exported(cfg, 'm.pt2', 'torch-export', processing=True, size=(30, 41), batch=2)
    assert card['inference'] == 'each image as a whole' and card['agreement']['equal_labels'] == 1
    assert card['model_config']['test_cfg']['mode'] == 'slide'


@pytest.mark.parametrize('changes, images, message', [
    ({}, np.zeros((1, 30, 41, 3)), 'takes pictures of uint8, these are float64'),
    ({}, np.zeros((1, 3, 30, 41), np.uint8), r'takes images \(B, H, W, 3\), these are \(1, 3, 30, 41\)'),
    ({}, np.zeros((30, 41, 3), np.uint8), r'takes images \(B, H, W, 3\), these are \(30, 41, 3\)'),
    ({}, np.zeros((2, 30, 41, 3), np.uint8), 'takes 1 images of 30 x 41, these are 2 of 30 x 41. With --dynamic'),
    (dict(processing=False), np.zeros((1, 30, 41, 3)), r'takes images \(B, 3, H, W\), these are \(1, 30, 41, 3\)'),
    (dict(processing=False, dynamic=True, size_multiple_of=[8, 8]), np.zeros((1, 3, 16, 20)),
     'multiples of 8 and 8, these are 16 x 20'),
])
def test_images_that_a_file_does_not_take(changes, images, message):
    card = dict(processing=True, dynamic=False, mean=[0.] * 3, size_multiple_of=[1, 1], batch_size=1,
                input_size=[30, 41])
    with pytest.raises(UserError, match=message):
        ExportedModel(lambda images: images, card | changes)(images)


def test_processing_needs_bytes(exported):
    cfg = white_box('crate', 'segmenter')
    cfg.test_dataloader.dataset.pipeline[0] = dict(type='LoadImageFromFile', color_type='unchanged', to_float32=True)
    with pytest.raises(UserError, match='reads pixels from 0 to 255, and that of this config starts with Load'):
        exported(cfg, 'm.onnx', 'onnx', processing=True)


def test_padding_as_the_data_preprocessors_say():
    build = MODELS.build
    seg = dict(type='mmseg.SegDataPreProcessor', mean=[0.] * 3, std=[1.] * 3, size=(64, 64))
    assert padding_at_test_time(build(seg)) == ((0, 0), 1, 0.)
    assert padding_at_test_time(build(seg | dict(pad_val=3, test_cfg=dict(size_divisor=32)))) == ((0, 0), 32, 3.)
    assert padding_at_test_time(build(seg | dict(test_cfg=dict(size=(40, 48))))) == ((40, 48), 1, 0.)
    cls = dict(type='mmpretrain.ClsDataPreprocessor', pad_size_divisor=16, pad_value=5)
    assert padding_at_test_time(build(cls)) == ((0, 0), 16, 5.)


def test_labels_that_differ_where_the_model_is_sure_are_refused():
    model = init_model(white_box('crate', 'cbt'), device='cpu')
    network = ProcessingNetwork(model)
    generator = torch.Generator().manual_seed(0)
    labels, logits = network.inferred(network.random_images(1, (32, 32), generator))
    top = logits.topk(2, 1).values
    sure = (top[:, 0] - top[:, 1]).flatten().argmax()

    def candidate(images):
        given = labels.clone()
        given.view(-1)[sure] = (given.view(-1)[sure] + 1) % 3
        return given

    assert measure_agreement(network, lambda images: labels, [(1, (32, 32))])['equal_labels'] == 1
    with pytest.raises(UserError, match='differs from the model by .* on images of 32 x 32'):
        measure_agreement(network, candidate, [(1, (32, 32))])


@pytest.mark.parametrize('dtype, file_format, name', [
    ('float16', 'safetensors', 'm.safetensors'), ('bfloat16', 'safetensors', 'm.safetensors'),
    ('float16', 'onnx', 'm.onnx'), pytest.param('bfloat16', 'torch-export', 'm.pt2', marks=pytest.mark.slow)])
def test_half_precision(exported, dtype, file_format, name):
    """Weights take half the bytes; images and logits are float32; the difference is there, and bounded."""
    card, model, path = exported(white_box('crate', 'depict'), name, file_format, dtype=dtype)
    run = load_exported(path, trust=True)
    images = torch.randn(1, 3, 32, 32)
    with torch.no_grad():
        expected = model.encode_decode(images, [dict(ori_shape=(32, 32), img_shape=(32, 32))])
    logits = run(images)
    assert logits.dtype == torch.float32 and card['dtype'] == dtype
    relative = ((logits - expected).abs().max() / expected.abs().max()).item()
    assert 1e-5 < relative < dict(float16=2e-2, bfloat16=2e-1)[dtype]
    assert 1e-5 < card['agreement']['relative'] < dict(float16=2e-2, bfloat16=2e-1)[dtype]
    if file_format == 'onnx':
        kinds = {tensor.data_type for tensor in onnx.load(path).graph.initializer if len(tensor.dims) > 1}
        assert onnx.TensorProto.FLOAT16 in kinds and onnx.TensorProto.FLOAT not in kinds


@pytest.mark.parametrize('attention', [
    pytest.param(dict(type='Spectral'), id='spectral'),
    pytest.param(dict(type='CBSA', contraction='inverse'), id='inverse', marks=pytest.mark.slow)])
def test_solves_are_exported_to_onnx(exported, attention):
    cfg = classifier('MSSA')
    cfg.model.backbone.arch.attention = attention
    _, model, path = exported(cfg, 'm.onnx', 'onnx', batch=2, size=(40, 24))
    images = torch.randn(2, 3, 40, 24)
    with torch.no_grad():
        expected = model.head(model.extract_feat(images))
    torch.testing.assert_close(run_onnx(path, images), expected, rtol=0, atol=1e-4 * expected.abs().max().item())


@pytest.mark.parametrize('n', [3, 16, 64])
@pytest.mark.parametrize('condition, allowed', [(1., 1e-6), (1e2, 1e-4), (1e4, 3e-3), (1e6, 0.15)])
@pytest.mark.parametrize('left', [True, False])
def test_solve_by_products_is_as_exact_as_a_solve(n, condition, allowed, left):
    """Against float64, on matrices I + R R^T of a given condition; the right side is R, as in eq. 7 and 12."""
    torch.manual_seed(0)
    u, v = (torch.linalg.qr(torch.randn(2, n, n, dtype=torch.float64))[0] for _ in range(2))
    r = (u * (torch.logspace(0, -5, n, dtype=torch.float64) * (condition - 1)).sqrt()) @ v.mT
    gram = r @ r.mT if left else r.mT @ r
    exact = torch.linalg.solve(torch.eye(n) + gram, r, left=left)
    matrix = (torch.eye(n) + gram).float()
    errors = [((given - exact).abs().max() / exact.abs().max().clamp_min(1e-9)).item() for given in (
        torch.linalg.solve(matrix, r.float(), left=left), solve_by_products(matrix, r.float(), left=left)[0])]
    assert errors[1] < max(3 * errors[0], 3e-6) and errors[1] < allowed


def test_operators_of_others_are_refused(tmp_path):
    value = onnx.helper.make_tensor_value_info('x', onnx.TensorProto.FLOAT, [1])
    result = onnx.helper.make_tensor_value_info('y', onnx.TensorProto.FLOAT, [1])

    def write(opsets, domain=''):
        node = onnx.helper.make_node('Relu', ['x'], ['y'], domain=domain)
        imports = [onnx.helper.make_opsetid(*entry) for entry in opsets]
        onnx.save(onnx.helper.make_model(onnx.helper.make_graph([node], 'g', [value], [result]), opset_imports=imports),
                  tmp_path / 'm.onnx')

    write([('', 18)])
    check_onnx(tmp_path / 'm.onnx', 18)
    with pytest.raises(UserError, match='needs operators of ai.onnx 18, not of ai.onnx 20 alone'):
        check_onnx(tmp_path / 'm.onnx', 20)
    write([('', 18), ('com.microsoft', 1)], 'com.microsoft')
    with pytest.raises(UserError, match='needs operators of ai.onnx 18, com.microsoft 1'):
        check_onnx(tmp_path / 'm.onnx', 18)
    write([])
    with pytest.raises(UserError, match='The ONNX file is not valid'):
        check_onnx(tmp_path / 'm.onnx', 18)


@pytest.mark.slow
def test_a_compiled_package_runs_without_this_package(exported, tmp_path):
    card, model, path = exported(white_box('crate', 'cbt'), 'm.pt2', 'aot', dynamic=True, processing=True)
    assert card['format'] == 'aot' and card['agreement']['equal_labels'] > 0.99
    pictures = np.random.default_rng(0).integers(0, 256, (2, 21, 45, 3), np.uint8)
    np.save(tmp_path / 'pictures.npy', pictures)
    with pytest.raises(UserError, match='can run code from it'):
        load_exported(path)
    ours = load_exported(path, trust=True)
    assert ours.card == json.loads(json.dumps(card))
    code = ('import sys, numpy, torch\n'
            "run = torch._inductor.aoti_load_package('m.pt2')\n"
            "numpy.save('labels.npy', run(torch.from_numpy(numpy.load('pictures.npy'))).numpy())\n"
            "assert not [name for name in sys.modules if name.startswith('mmwhitebox')]\n")
    subprocess.run([sys.executable, '-c', code], cwd=tmp_path, check=True)
    labels = np.load(tmp_path / 'labels.npy')
    assert np.array_equal(labels, ours(pictures).numpy())
    assert np.array_equal(labels, ours(np.asfortranarray(pictures)).numpy())  # whatever their order in memory
    expected = np.stack([result.mask for result in inference_model(model, list(pictures), rgb=True)])
    assert (labels == expected).mean() > 0.99


def test_a_package_that_cannot_be_compiled(exported, monkeypatch):
    def fail(*args, **kwargs):
        raise RuntimeError('no C++ compiler')

    monkeypatch.setattr(torch._inductor, 'aoti_compile_and_package', fail)
    with pytest.raises(UserError, match=r'cannot be compiled here: no C\+\+ compiler. It needs a C\+\+ compiler'):
        exported(white_box('crate', 'cbt'), 'm.pt2', 'aot')


def test_one_mean_for_all_channels(exported):
    """As the data preprocessors take it; the card says it of every channel."""
    cfg = white_box('crate', 'cbt', mean=[127.5], std=[64.])
    card, model, path = exported(cfg, 'm.pt2', 'torch-export')
    assert card['mean'] == 3 * [127.5] and card['std'] == 3 * [64.]
    assert load_exported(path, trust=True)(torch.zeros(1, 3, 32, 32)).shape == (1, 3, 32, 32)


def test_processing_is_refused_where_values_are_more_than_bytes(exported):
    cfg = white_box('crate', 'cbt')
    cfg.test_dataloader.dataset.pipeline[0] = dict(type='mmwhitebox.LoadImage', value_range=(0, 4095))
    with pytest.raises(UserError, match=r'pixels from 0 to 255, and that of this config starts with .*LoadImage of '
                       r'values in \(0, 4095\)'):
        exported(cfg, 'm.onnx', 'onnx', processing=True)


@pytest.mark.parametrize('name', ['m.onnx', 'm.onnx.json'])
def test_a_folder_in_the_way_is_found_before_the_model_is_built(tmp_path, name):
    (tmp_path / name).mkdir()
    with pytest.raises(UserError, match=f'{name} is a folder'):
        export_model('nothing', 'nothing', tmp_path / 'm.onnx', 'onnx')


def test_a_full_disk_ends_an_export_in_one_line(exported, monkeypatch, tmp_path):
    def full(path, data):
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr('pathlib.Path.write_bytes', full)
    with pytest.raises(UserError, match='m.pt2 cannot be written .No space left on device'):
        exported(white_box('crate', 'cbt'), 'm.pt2', 'torch-export')
    assert [path.name for path in tmp_path.iterdir()] == ['trained.pth']


def test_an_exported_file_is_no_checkpoint(tmp_path):
    (tmp_path / 'm.onnx').write_bytes(b'onnx')
    with pytest.raises(CheckpointError, match='m.onnx is an exported file, no checkpoint: mmwhitebox test'):
        init_model(white_box('crate', 'cbt'), tmp_path / 'm.onnx', device='cpu')


CARD = dict(task='segmentation', classes=['a', 'b', 'c'], dynamic=True, batch_size=None, input_size=[32, 32],
            size_multiple_of=[8, 8], config='mine')


@pytest.mark.parametrize('changes, message', [
    (dict(classes=list('abcde')), 'is of segmentation with 5 classes, the config of segmentation with 3: .*(mine)'),
    (dict(task='classification'), 'is of classification with 3 classes'),
    (None, 'has no model card'),
])
def test_a_file_of_another_model_is_not_scored_in_its_place(changes, message):
    model = init_model(white_box('crate', 'cbt'), device='cpu')
    card = {} if changes is None else CARD | changes
    with pytest.raises(UserError, match=message):
        substitute(model, ExportedModel(lambda images: images, card))
    substitute(model, ExportedModel(lambda images: images, CARD))
