"""int8 files: what is in them, what they score beside their models, and what is refused."""
import copy
import json
from functools import partial

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from torch import nn

from mmwhitebox.apis import export_int8, export_model, inference_model, init_model, load_exported
from mmwhitebox.apis.export import substitute
from mmwhitebox.apis.export.quantization import as_the_file_takes, calibration_images, inputs_apart, sums_apart
from mmwhitebox.apis.scoring import evaluation_loader, evaluator_of, main_score, scores_of
from mmwhitebox.cli.main import main
from mmwhitebox.errors import DatasetLayoutError, NotApplicableError, UserError

onnx = pytest.importorskip('onnx')
onnxruntime = pytest.importorskip('onnxruntime')
pytest.importorskip('onnxscript')

CLASSES = ['sky', 'road', 'car']
SIZE = (32, 48)
ONE_PROCESS = dict(batch_size=1, num_workers=0, persistent_workers=False, sampler=dict(type='DefaultSampler'))


def segmentor_config(root, windows=False, **arch):
    """CBT's encoder and decoder, a layer each, on patches of 8 x 8."""
    test = dict(mode='slide', crop_size=(32, 32), stride=(16, 16)) if windows else dict(mode='whole')
    loaders = {f'{split}_dataloader': dict(ONE_PROCESS, dataset=dict(
        type='BaseSegDataset', data_root=str(root), metainfo=dict(classes=CLASSES),
        data_prefix=dict(img_path=f'images/{split}', seg_map_path=f'labels/{split}'), img_suffix='.png',
        pipeline=[dict(type='LoadImageFromFile'), dict(type='LoadAnnotations'), dict(type='PackSegInputs')]))
        for split in ('train', 'test')}
    return Config(dict(
        default_scope='mmseg',
        model=dict(
            type='mmwhitebox.EncoderDecoder',
            data_preprocessor=dict(type='SegDataPreProcessor', mean=[127.5] * 3, std=[127.5] * 3, bgr_to_rgb=True),
            backbone=dict(type='mmwhitebox.WhiteBoxTransformer', img_size=32, patch_size=8, out_type='featmap',
                          arch=dict(embed_dims=16, num_layers=1, num_heads=2, attention=dict(type='CBSA'),
                                    feedforward=dict(type='ISTA'), **arch)),
            decode_head=dict(type='mmwhitebox.WhiteBoxMaskHead', in_channels=16, channels=16, num_classes=3,
                             num_layers=1, attention=dict(type='CBSA', num_heads=2, head_dims=6, pool_size=3)),
            test_cfg=test),
        **loaders, test_evaluator=dict(type='IoUMetric', iou_metrics=['mIoU'])))


def classifier_config(root):
    """ToST's encoder of one layer, labels by the names of folders."""
    loaders = {f'{split}_dataloader': dict(ONE_PROCESS, dataset=dict(
        type='CustomDataset', data_root=str(root / split), with_label=True,
        pipeline=[dict(type='LoadImageFromFile'), dict(type='PackInputs')])) for split in ('train', 'test')}
    return Config(dict(
        default_scope='mmpretrain',
        model=dict(
            type='ImageClassifier', data_preprocessor=dict(mean=[127.5] * 3, std=[127.5] * 3, to_rgb=True),
            backbone=dict(type='mmwhitebox.WhiteBoxTransformer', img_size=32, patch_size=8,
                          arch=dict(embed_dims=16, num_layers=1, num_heads=2, attention=dict(type='TSSA'),
                                    feedforward=dict(type='MLP'))),
            head=dict(type='LinearClsHead', num_classes=2, in_channels=16)),
        **loaders, test_evaluator=dict(type='Accuracy', topk=1)))


def picture(seed, size=SIZE):
    """Noise that is smooth over some patches."""
    small = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), np.uint8)
    return cv2.resize(small, size[::-1], interpolation=cv2.INTER_CUBIC)


def write(path, image):
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), image)


def make(root, cfg, size=SIZE, change=lambda model: None):
    """Data, labels as a model says, so that it scores 100, and its checkpoint: (config, checkpoint)."""
    torch.manual_seed(1)
    model = init_model(cfg, device='cpu')
    change(model)
    torch.save(dict(state_dict=model.state_dict()), root / 'trained.pth')
    for split, count in (('train', 5), ('test', 3)):
        for i in range(count):
            image = picture(10 * count + i, size)
            write(root / f'images/{split}/{i}.png', image)
            labels = inference_model(model, image).pred_sem_seg.data[0]
            write(root / f'labels/{split}/{i}.png', labels.numpy().astype(np.uint8))
    return cfg, root / 'trained.pth'


@pytest.fixture
def trained(tmp_path):
    """:func:`make` in a folder of its own."""
    return partial(make, tmp_path)


@pytest.fixture(scope='module')
def plain(tmp_path_factory):
    """:func:`make` of the segmentor as it is, in a folder that nothing else is written to."""
    root = tmp_path_factory.mktemp('plain')
    return make(root, segmentor_config(root))


@pytest.fixture(scope='module')
def int8(plain, tmp_path_factory):
    """An int8 file, in a folder of its own: (config, checkpoint, file, card, what was said of the progress)."""
    file, said = tmp_path_factory.mktemp('int8') / 'out' / 'model.onnx', []
    card = export_int8(*plain, file, 5, 20., size=SIZE, on_progress=lambda *args: said.append(args))
    return *plain, file, card, said


def linear_layers(model):
    """The weights (in, out) that the int8 products of the segmentor are made of, by the shape of their use."""
    return {name: module for name, module in model.named_modules() if isinstance(module, nn.Linear)}


def scores(cfg, model):
    return scores_of(model, evaluation_loader(cfg), evaluator_of(cfg))


def constants(model):
    return {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in model.graph.initializer}


def products(model):
    """Quantized products of a QDQ graph: (weight in float64, its scales, scale and zero point of the input)."""
    values, made = constants(model), {name: node for node in model.graph.node for name in node.output}
    for node in model.graph.node:
        if node.op_type in ('MatMul', 'Gemm') and all(made.get(name) is not None and
                                                      made[name].op_type == 'DequantizeLinear'
                                                      for name in node.input[:2]):
            q, scale, zero = (values[name] for name in made[node.input[1]].input)
            assert q.dtype == np.int8 and not zero.any()
            axis = onnx.helper.get_node_attr_value(made[node.input[1]], 'axis')
            shape = [-1 if i == axis % 2 else 1 for i in range(2)]
            yield (q * scale.astype(np.float64).reshape(shape), scale, axis % 2,
                   [values[name] for name in made[node.input[0]].input[1:]])


def test_a_float32_file_scores_as_its_model(tmp_path):
    """On labels that another model gave, of images that are padded and of such that are seen through windows."""
    for size, windows in ((30, 29), False), ((40, 56), True):
        root = tmp_path / f'windows_{windows}'
        root.mkdir()
        cfg, checkpoint = make(root, segmentor_config(root, windows, stem=dict(type='PatchConv')), size)
        torch.manual_seed(2)
        model = init_model(cfg, device='cpu')
        if not windows:  # the network is the same
            torch.save(dict(state_dict=model.state_dict()), checkpoint)
            export_model(cfg, checkpoint, tmp_path / 'model.onnx', 'onnx', (32, 32))
        expected = scores(cfg, model)
        assert 0 < expected['mIoU'] < 99
        exported = load_exported(tmp_path / 'model.onnx')
        substitute(model, exported)
        for parameter in model.parameters():
            parameter.data.fill_(torch.nan)  # nothing is left of the model
        assert scores(cfg, model) == pytest.approx(expected, abs=1e-6)
        exported.run = lambda images: torch.eye(3)[0].view(1, 3, 1, 1).expand(len(images), 3, *images.shape[2:])
        assert scores(cfg, model) != pytest.approx(expected, abs=1)


def test_a_classifier_scores_as_its_model_in_batches_of_the_file(tmp_path):
    cfg = classifier_config(tmp_path)
    for split in ('train', 'test'):
        for i in range(5):
            write(tmp_path / split / 'ab'[i % 2] / f'{i}.png', picture(i, (32, 32)))
    cfg.test_dataloader.batch_size = 3
    torch.manual_seed(0)
    model = init_model(cfg, device='cpu')
    torch.save(dict(state_dict=model.state_dict()), tmp_path / 'trained.pth')
    expected = scores(cfg, model)
    export_model(cfg, tmp_path / 'trained.pth', tmp_path / 'wide.onnx', 'onnx', batch=2)
    substitute(model, load_exported(tmp_path / 'wide.onnx'))
    assert scores(cfg, model) == expected


def test_an_int8_file_and_its_card(int8):
    cfg, checkpoint, file, card, said = int8
    assert sorted(path.name for path in file.parent.iterdir()) == ['model.onnx', 'model.onnx.json']
    assert json.loads((file.parent / 'model.onnx.json').read_text()) == json.loads(json.dumps(card))
    exported = load_exported(file)
    assert exported.card == json.loads(json.dumps(card))
    assert card['dtype'] == 'int8' and card['calibration'] == dict(split='train', images=5, seed=0)
    found = card['scores']
    assert found['metric'] == 'mIoU' and found['float32'] == 100 and found['split'] == 'test' and found['images'] == 3
    assert found['loss'] == pytest.approx(100 - found['int8'])
    model = init_model(cfg, str(checkpoint), device='cpu')
    substitute(model, exported)
    assert scores(cfg, model)['mIoU'] == found['int8'] > 80
    assert said == [(f'scoring {name}', i, 3) for name in ('float32', 'int8') for i in (1, 2, 3)]


def test_numbers_of_an_int8_file(int8):
    """Weights: a scale for every output, the largest value at 127. Activations: the range of the images given."""
    cfg, checkpoint, file, card, _ = int8
    found = list(products(onnx.load(file)))
    assert len(found) == card['int8_products'] > 4
    model = init_model(cfg, str(checkpoint), device='cpu')
    ranges, hooks = {}, []
    for name, module in linear_layers(model).items():
        def note(module, args, name=name):
            low, high = ranges.get(name, (0., 0.))
            ranges[name] = min(low, args[0].min().item()), max(high, args[0].max().item())
        hooks.append(module.register_forward_pre_hook(note))
    for path in sorted((checkpoint.parent / 'images/train').iterdir()):
        inference_model(model, str(path))
    checked = 0
    for name, module in linear_layers(model).items():
        if name not in ranges:
            continue
        weight = module.weight.detach().double().numpy().T
        scale = np.abs(weight).max(0) / 127
        expected = np.clip(np.round(weight / scale), -127, 127) * scale
        low, high = ranges[name]
        for value, scales, axis, (width, zero) in found:
            if value.shape == expected.shape and np.abs(value - expected).max() < 1e-6:
                assert axis == 1 and scales == pytest.approx(scale, rel=1e-5)
                assert width == pytest.approx((high - low) / 255, rel=1e-4)
                assert zero == round(-low / ((high - low) / 255)) and zero.dtype == np.uint8
                checked += 1
    assert checked >= 2


def test_residuals_and_sums_stay_float32(int8, tmp_path):
    """What is rounded to int8 goes into products with constant weights alone, ISTA's among them."""
    file = int8[2]
    model = onnx.load(file)
    rounded = {name for node in model.graph.node if node.op_type == 'DequantizeLinear' for name in node.output}
    readers = [node for node in model.graph.node if rounded & set(node.input)]
    assert {node.op_type for node in readers} <= {'MatMul', 'Gemm'}
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / 'optimized.onnx')
    options.log_severity_level = 3
    onnxruntime.InferenceSession(file, options, providers=['CPUExecutionProvider'])
    kinds = [node.op_type for node in onnx.load(tmp_path / 'optimized.onnx').graph.node]
    assert 'DequantizeLinear' not in kinds  # all products run in integers
    assert sum(kinds.count(kind) for kind in ('MatMulIntegerToFloat', 'QGemm')) == len(readers)


@pytest.mark.parametrize('options', [dict(), dict(alpha=0.1), dict(alpha=-2., transB=1)])
def test_a_gemm_with_a_computed_sum_is_rewritten(options):
    from onnx import TensorProto, helper, numpy_helper
    weight = np.random.default_rng(0).standard_normal((4, 6)).astype(np.float32)
    weight = weight.T.copy() if options.get('transB') else weight
    graph = helper.make_graph(
        [helper.make_node('Relu', ['x'], ['r'], name='relu'),
         helper.make_node('Gemm', ['x', 'w', 'c'], ['y'], name='gemm', **options),
         helper.make_node('Gemm', ['r', 'v', 'b'], ['z'], name='plain')],
        'graph', [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
                  for name, shape in (('x', (3, 4)), ('c', (3, 6)))],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, (3, 6)) for name in 'yz'],
        [numpy_helper.from_array(weight, 'w'), numpy_helper.from_array(np.ones((4, 6), np.float32), 'v'),
         numpy_helper.from_array(np.ones(6, np.float32), 'b')])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid('', 18)], ir_version=9)
    rng = np.random.default_rng(1)
    given = dict(x=rng.standard_normal((3, 4), np.float32), c=rng.standard_normal((3, 6), np.float32))

    def outputs():
        session = onnxruntime.InferenceSession(model.SerializeToString(), providers=['CPUExecutionProvider'])
        return session.run(None, given)

    before = outputs()
    sums_apart(model)
    assert [node.op_type for node in model.graph.node] == ['Relu', 'MatMul', 'Sub', 'Gemm']
    assert 'w' not in constants(model)
    assert inputs_apart(model) == ['gemm_product', 'plain']
    onnx.checker.check_model(model)
    for expected, found in zip(before, outputs()):
        assert found == pytest.approx(expected, abs=1e-6)


def outlier(model):
    """The same function in float32; of the inputs of the attention's projection one channel dwarfs the others."""
    layer = model.backbone.layers[0]
    with torch.no_grad():
        projection = next(module for module in layer.modules() if isinstance(module, nn.Linear))
        layer.norm1.weight[0] *= 1e5
        layer.norm1.bias[0] *= 1e5
        projection.weight[:, 0] /= 1e5


@pytest.mark.parametrize('change, options, error, message', [
    (lambda cfg: cfg.pop('train_dataloader'), {}, UserError, 'the config has no train_dataloader'),
    (lambda cfg: cfg.pop('test_dataloader'), {}, NotApplicableError, 'no test or validation dataset'),
    (lambda cfg: cfg.pop('test_evaluator'), {}, NotApplicableError, 'no test_evaluator'),
    (lambda cfg: cfg.train_dataloader.dataset.update(data_root='nowhere'), {}, DatasetLayoutError, 'nowhere'),
    (None, dict(count=0), UserError, '0 images for calibration'),
    (None, dict(out='model.pt2'), UserError, r'is called \*.onnx'),
])
def test_what_int8_cannot_do(plain, tmp_path, change, options, error, message):
    cfg, checkpoint = copy.deepcopy(plain)
    if change is not None:
        change(cfg)
    options = {'size': SIZE, 'count': 2, 'max_loss': 100., **options}
    out = tmp_path / 'out' / options.pop('out', 'model.onnx')
    with pytest.raises(error, match=message) as raised:
        export_int8(cfg, checkpoint, out, **options)
    assert 'cannot be written' not in str(raised.value)
    assert not out.parent.exists() or not list(out.parent.iterdir())


def test_images_as_a_file_takes_them():
    card = dict(dynamic=False, input_size=[32, 48], size_multiple_of=[8, 8], batch_size=2)
    images = [torch.full((1, 3, 30, 45), float(i)) for i in range(3)]
    first, last = as_the_file_takes(card, images)
    assert first.shape == last.shape == (2, 3, 32, 48)
    assert first[:, 0, 29, 44].tolist() == [0, 1] and last[:, 0, 0, 0].tolist() == [2, 0] and not first[1, 0, 30].any()
    with pytest.raises(UserError, match='takes images of 32 x 48; those of the data set come to it as 40 x 48'):
        as_the_file_takes(card, [torch.zeros(1, 3, 40, 48)])
    assert as_the_file_takes(card | dict(dynamic=True, batch_size=None), images)[0].shape == (1, 3, 32, 48)


def test_the_main_score():
    assert main_score({'aAcc': 3., 'mIoU': 50.}) == ('mIoU', 50.)
    assert main_score({'accuracy/top5': 90., 'accuracy/top1': 60.}) == ('top1', 60.)
    with pytest.raises(UserError, match='neither mIoU nor top-1 accuracy, but mDice, aAcc'):
        main_score(dict(mDice=1., aAcc=2.))


def test_images_for_calibration(trained, tmp_path):
    """Seeded, of the training set, as the network gets them: normalised, a window of each image."""
    cfg, checkpoint = trained(segmentor_config(tmp_path, windows=True), (40, 56))
    model = init_model(cfg, str(checkpoint), device='cpu')
    first, again, other = (calibration_images(model, 3, seed) for seed in (0, 0, 1))
    assert [image.shape for image in first] == 3 * [(1, 3, 32, 32)]
    assert all(torch.equal(a, b) for a, b in zip(first, again))
    assert not all(torch.equal(a, b) for a, b in zip(first, other))
    assert len(calibration_images(model, 99)) == 5
    pictures = [cv2.imread(str(path))[..., ::-1] for path in sorted((tmp_path / 'images/train').iterdir())]
    windows = [(p[y:y + 32, x:x + 32] - 127.5) / 127.5 for p in pictures for y in (0, 8) for x in (0, 16, 24)]
    for image in first:
        assert min(np.abs(image[0].permute(1, 2, 0).numpy() - window).max() for window in windows) < 1e-5


def test_commands(trained, tmp_path, capsys, monkeypatch):
    """A file that loses too much is not kept; the export says what it lost, and the test scores the file by the same
    number."""
    cfg, _ = trained(segmentor_config(tmp_path), change=outlier)
    cfg.update(test_cfg=dict(type='TestLoop'), train_cfg=dict(type='IterBasedTrainLoop', max_iters=1),
               optim_wrapper=dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=1.)))
    cfg.dump(tmp_path / 'tiny.py')
    monkeypatch.chdir(tmp_path)
    argv = ['export', 'tiny.py', 'trained.pth', '--format', 'onnx', '--out', 'out/model.onnx', '--size', '32', '48']
    int8 = ['--dtype', 'int8', '--calibration-images', '2']
    for wrong, message in (
            ([*argv, *int8], r'int8 loses [\d.]+ points of mIoU: [\d.]+, float32 has 100.00; 1 are allowed'),
            ([*argv, '--max-loss', '2'], '--max-loss is for --dtype int8'),
            ([*argv[:4], 'safetensors', *argv[5:], *int8], '--dtype int8 is for --format onnx')):
        with pytest.raises(SystemExit, match=message) as ended:
            main(wrong)
        assert '\n' not in str(ended.value)
    assert not list((tmp_path / 'out').iterdir())
    capsys.readouterr()
    main([*argv, *int8, '--max-loss', '100'])
    *_, line = capsys.readouterr().out.splitlines()
    lost = json.loads((tmp_path / 'out/model.onnx.json').read_text())['scores']
    assert line == (f'mIoU of 3 images (test): float32 100.00, int8 {lost["int8"]:.2f}, loss {lost["loss"]:.2f} points')
    main(['test', 'tiny.py', 'out/model.onnx', '--scores', 'scores.json'])
    assert json.loads((tmp_path / 'scores.json').read_text())['scores']['mIoU'] == pytest.approx(lost['int8'])
    with pytest.raises(SystemExit, match='exported with') as ended:
        main(['test', 'tiny.py', 'out/model.onnx', '--precision', 'bf16'])
    assert '\n' not in str(ended.value)
