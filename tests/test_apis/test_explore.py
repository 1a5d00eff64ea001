"""What explore says of five models is what interpret says, to the quantisation; disturbances are those made by hand."""
import copy
import functools
import gc
import json

import numpy as np
import pytest
import torch
from mmengine.config import Config
from PIL import Image

from mmwhitebox.apis import config_path, explore, inference_model, init_model, optimize
from mmwhitebox.apis.array_container import unpack
from mmwhitebox.errors import UserError
from mmwhitebox.interpret.attention_map import (
    attention_matrix,
    has_attention_map,
    representative_footprints,
)
from mmwhitebox.interpret.capture import capture
from mmwhitebox.interpret.coding_rate import layer_rates
from mmwhitebox.interpret.token_pca import token_colours
from mmwhitebox.models.access import logits
from mmwhitebox.models.attention_layers import attention_layers, compression_layers
from tests.test_interpret.small import save_config

CLASSIFIERS = ('cbt_mini_imagenet', 'crate_mini_imagenet', 'tost_mini_imagenet', 'dmst_mini_imagenet')
SEGMENTORS = ('cbt_decoder_mini_ade20k', )
OTHERS = ('depict_ca_mini_ade20k', 'segmenter_mask_mini_ade20k', 'segmenter_linear_mini_ade20k')


def config(name):
    """A config with two layers of everything and images of 64 pixels."""
    cfg = Config.fromfile(config_path(name))
    if cfg.model.backbone.type == 'mmwhitebox.TimmViT':
        cfg.model.backbone.update(img_size=64, model_kwargs=dict(patch_size=8, depth=2, embed_dim=192, num_heads=3))
        cfg.model.data_preprocessor.test_cfg = dict(size=(72, 80))  # more than the image: padding
        cfg.test_dataloader.dataset.pipeline = [
            dict(type='LoadImageFromFile'), dict(type='Resize', scale=(72, 64), keep_ratio=False),
            dict(type='PackSegInputs')]
    else:
        cfg.model.backbone.arch.num_layers = 2
    return cfg


def picture(width=50, height=40):
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8))


@pytest.fixture(scope='module')
def models():
    built = {}

    def get(name):
        if name not in built:
            torch.manual_seed(0)
            built[name] = init_model(config(name), device='cpu')
            with torch.no_grad():
                for parameter in built[name].parameters():
                    parameter.add_(0.02 * torch.randn_like(parameter))
        return built[name]

    return get


@pytest.fixture(scope='module')
def clean(models):
    """A model by its name, and what is found in it without a disturbance; not to be changed."""
    return functools.cache(lambda name: (models(name), explore(models(name), picture())))


def preprocessed(model, image):
    packed = model.test_pipeline(np.asarray(image)[..., ::-1])
    return model.data_preprocessor(dict(inputs=[packed['inputs']], data_samples=[packed['data_samples']]),
                                   False)['inputs']


def rows(layer, arrays):
    """Maps of a layer as the page computes them, from its factors alone."""
    found = layer['maps']['attention']
    if found['form'] == 'gram':
        a = arrays[found['a']]
        return np.einsum('kji,kjn->kin', a, a)
    if found['form'] == 'product':
        return np.einsum('kij,kjn->kin', arrays[found['b']], arrays[found['a']])
    if found['form'] == 'softmax':
        scores = found['scale'] * np.einsum('kip,knp->kin', arrays[found['q']], arrays[found['k']])
        scores = np.exp(scores - scores.max(-1, keepdims=True))
        return scores / scores.sum(-1, keepdims=True)
    return arrays[found['rows']]


def close(found, expected, steps=0.):
    """Equal to float32, and to what the quantisation allows."""
    expected = np.asarray(expected, dtype=np.float64)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5 * np.abs(expected).max() + steps)


@pytest.mark.parametrize('name', CLASSIFIERS + SEGMENTORS + OTHERS)
def test_values_are_those_of_interpret(clean, name):
    model, exploration = clean(name)
    header, arrays = exploration.header, exploration.arrays
    tensor = preprocessed(model, picture())
    attentions, compressing = attention_layers(model), compression_layers(model)
    modules = {key: module for layer in compressing for key, module in layer.modules.items()}
    modules |= {f'{key}/layer': model.get_submodule(key.rpartition('.')[0]) for key in attentions}
    with torch.no_grad(), capture({**attentions, **modules}) as calls:
        scores = logits(model, tensor)
        assert [layer['name'] for layer in header['layers']] == list(attentions)
        assert [layer['number'] for layer in header['layers']] == list(range(len(attentions)))
        for layer, (key, attention) in zip(header['layers'], attentions.items()):
            maps, args = layer['maps'], calls[key].args
            assert ('attention' in maps) == has_attention_map(attention)
            if 'attention' in maps:
                close(rows(layer, arrays), attention_matrix(attention, args, calls[key].kwargs)[0])
                assert maps['attention'].get('queries') == (None if attention_is_whole(attention) else 'extra')
            if 'representatives' in maps:
                close(arrays[maps['representatives']['a']], representative_footprints(attention, args)[0])
                assert maps['representatives']['pool'] == attention.pool_size
            for kind in ('membership', 'gate'):
                assert (kind in maps) == callable(getattr(attention, kind, None))
                if kind in maps:
                    close(arrays[maps[kind]], getattr(attention, kind)(*args)[0])
            tokens = calls[f'{key}/layer'].output[0]
            num_patches = header['grid'][0] * header['grid'][1]
            assert arrays[layer['tokens']].shape == (len(layer['extra']) + num_patches, tokens.shape[1])
            close(arrays[layer['tokens']][:len(tokens)], tokens)
            close(arrays[layer['pca']], token_colours(torch.tensor(arrays[layer['tokens']][len(layer['extra']):])))
        for layer in compressing:
            described = next(entry for entry in header['layers'] if entry['name'] == layer.name)['rates']
            for stage, quantities in layer_rates(layer, calls).items():
                for quantity, value in quantities.items():
                    assert described[quantity][stage] == pytest.approx(value.item(), rel=1e-6, abs=1e-9)
    assert header['prediction']['kind'] == ('segmentation' if name in SEGMENTORS + OTHERS else 'classification')
    if header['prediction']['kind'] == 'segmentation':
        close(arrays['logits'], scores[0])
        assert header['prediction']['covers'] == list(tensor.shape[-2:])
    else:
        close(arrays['probabilities'], scores[0].softmax(0))


def attention_is_whole(attention):
    return getattr(attention, 'updates_all_tokens', True)


@pytest.mark.parametrize('bits', [8, 16])
@pytest.mark.parametrize('name', CLASSIFIERS + SEGMENTORS)
def test_the_container_is_off_by_half_a_step(clean, name, bits):
    _, exploration = clean(name)
    header, arrays = unpack(exploration.to_bytes(bits))
    assert arrays.keys() == exploration.arrays.keys()
    assert {key: header[key] for key in exploration.header} == json.loads(json.dumps(exploration.header))
    for key, array in exploration.arrays.items():
        entry = header['arrays'][key]
        if array.dtype != np.float32:
            assert np.array_equal(arrays[key], array)
            continue
        steps = np.array(entry['scale'])
        assert entry['dtype'] == ('u1' if bits == 8 and key.startswith('layer') else 'u2')
        error = np.abs(arrays[key].astype(float) - array).reshape(len(steps), -1).max(1)
        assert (error <= steps * 0.501 + 1e-7 * np.abs(array).max()).all(), key
    if bits == 16:  # and so are the maps that come of it
        for layer, exact in zip(header['layers'], exploration.header['layers']):
            if 'attention' in layer['maps']:
                np.testing.assert_allclose(rows(layer, arrays), rows(exact, exploration.arrays), atol=2e-4)


@pytest.mark.parametrize('name', CLASSIFIERS + SEGMENTORS + OTHERS)
def test_the_answer_is_that_of_inference(clean, name):
    model, exploration = clean(name)
    result = inference_model(model, picture())
    header, arrays = exploration.header, exploration.arrays
    if header['prediction']['kind'] == 'classification':
        np.testing.assert_allclose(arrays['probabilities'], result.probabilities, atol=1e-6)
        assert [name for name, _ in header['prediction']['top']] == [name for name, _ in result.top(5)]
        return
    prediction, image = header['prediction'], header['image']
    rule = dict(mode='bilinear', align_corners=prediction['align_corners'])
    scores = torch.nn.functional.interpolate(torch.tensor(arrays['logits'])[None], prediction['covers'], **rule)
    scores = scores[..., :image['height'], :image['width']]
    scores = torch.nn.functional.interpolate(scores, image['original'][::-1], **rule)
    assert (scores[0].argmax(0).numpy() == result.mask).mean() > 0.999


def test_header(models):
    model = models('cbt_decoder_mini_ade20k')
    truth = np.zeros((40, 50), np.uint8)
    truth[:20] = 3
    truth[:, 49] = 255
    exploration = explore(model, picture(), ground_truth=truth)
    header, arrays = exploration.header, exploration.arrays
    assert header['grid'] == [9, 10] and header['patch'] == [8, 8]
    assert {key: header['image'][key] for key in ('name', 'width', 'height', 'original', 'note')} == dict(
        name='image', width=72, height=64, original=[50, 40], note='')
    assert arrays['image'].shape == (64, 72, 3) and arrays['image'].dtype == np.uint8
    assert arrays['ground_truth'].shape == (64, 72)
    assert (arrays['ground_truth'][:32, :71] == 3).all() and (arrays['ground_truth'][32:, :70] == 0).all()
    assert (arrays['ground_truth'][:, 71] == 255).all()
    first, last = header['layers'][0], header['layers'][-1]
    assert (first['part'], first['attention'], first['heads'], first['head_dims']) == ('encoder', 'Attention', 3, 64)
    assert first['extra'] == ['class token'] and first['what_if'] == ['noise', 'head', 'skip']
    assert (last['part'], last['attention'], last['heads'], last['head_dims']) == ('decoder', 'CBSA', 3, 100)
    assert last['extra'] == list(model.dataset_meta['classes']) and last['what_if'][-1] == 'contraction'
    assert first['rates']['compression'] == dict(input=None, attention=None, feedforward=None)
    assert first['rates']['expansion']['feedforward'] > 0 and first['rates']['expansion']['attention'] is None
    assert header['what_if'] == header['notes'] == []
    described = header['model']
    assert described['task'] == 'segmentation' and described['classes'] == last['extra']
    assert len(described['palette']) == len(described['classes']) == 150
    facts = described['facts']
    assert facts['parameters'] == sum(p.numel() for p in model.parameters()) and facts['checkpoint'] is None
    assert facts['metrics'] is None and facts['date'] is None and facts['flops'] > 1e6
    assert json.loads(json.dumps(header)) == header


def test_rows(clean):
    rows = clean('cbt_mini_imagenet')[1].rows()
    assert [(row['layer'], row['stage']) for row in rows] == [
        (layer, stage) for layer in (0, 1) for stage in ('input', 'attention', 'feedforward')]
    assert all(row['compression'] > 0 for row in rows)
    assert rows[0]['sparsity'] is None and rows[2]['sparsity'] > 0
    vit = clean('cbt_decoder_mini_ade20k')[1].rows()
    assert [(row['layer'], row['stage']) for row in vit[:2]] == [(0, 'input'), (0, 'feedforward')]


def test_what_the_model_saw(models):
    """The picture is shown as it was given, in the size at which it was seen."""
    image = Image.new('RGB', (72, 64), (250, 10, 30))
    found = explore(models('cbt_decoder_mini_ade20k'), image)
    assert (found.arrays['image'] == (250, 10, 30)).all()
    flipped = explore(models('cbt_decoder_mini_ade20k'), np.asarray(image)[..., ::-1])
    assert (flipped.arrays['image'] == (250, 10, 30)).all()
    rgb = explore(models('cbt_decoder_mini_ade20k'), np.asarray(image), rgb=True)
    assert np.array_equal(rgb.arrays['logits'], found.arrays['logits'])


def test_a_window_model_sees_the_picture_in_one_piece():
    cfg = config('cbt_decoder_mini_ade20k')
    cfg.model.test_cfg = dict(mode='slide', crop_size=(32, 32), stride=(16, 16))
    found = explore(init_model(cfg, device='cpu'), picture())
    assert found.header['grid'] == [9, 10] and 'one piece' in found.header['notes'][0]


def test_a_masked_autoencoder_predicts_nothing():
    torch.manual_seed(0)
    found = explore(init_model(config('crate_mae_mini_imagenet'), device='cpu'), picture())
    assert found.header['prediction'] is None and found.header['model']['task'] == 'features'
    parts = [layer['part'] for layer in found.header['layers']]
    assert 'encoder' in parts and 'decoder' in parts
    decoder = found.header['layers'][-1]
    assert decoder['rates']['compression']['attention'] > 0 and decoder['rates']['expansion']['input'] > 0


@pytest.mark.parametrize('name', CLASSIFIERS + SEGMENTORS)
def test_disturbed_by_hand(models, name):
    """Everything that is told is told of the disturbed model; afterwards all is as before."""
    model, image = models(name), picture()
    before, clean = copy.deepcopy(model.state_dict()), explore(model, image).to_bytes(32)
    by_hand = copy.deepcopy(model)
    attention = list(attention_layers(by_hand).values())[1]
    back = attention.to_out if hasattr(attention, 'to_out') else attention.proj
    width = back.in_features // attention.num_heads
    with torch.no_grad():
        back.weight[:, width:2 * width] = 0
    found, expected = explore(model, image, [dict(kind='head', layer=1, head=1)]), explore(by_hand, image)
    assert found.header['what_if'] == [dict(kind='head', layer=1, head=1)]
    untouched = explore(model, image)
    if 'layer1.gate' not in found.arrays or found.arrays['layer1.gate'][1].any():  # the gate may close a head, too
        assert not np.array_equal(found.arrays['layer1.tokens'], untouched.arrays['layer1.tokens'])
        assert found.header['layers'] != untouched.header['layers']
    for key, array in found.arrays.items():
        if key.endswith('pca'):
            continue  # signs and ranges may turn with a rounding
        np.testing.assert_allclose(array, expected.arrays[key], rtol=1e-4, atol=1e-5 * np.abs(array).max())
    for layer, other in zip(found.header['layers'], expected.header['layers']):
        for quantity, stages in (layer['rates'] or {}).items():
            for stage, value in stages.items():
                expected_value = other['rates'][quantity][stage]
                assert value is expected_value is None or value == pytest.approx(expected_value, rel=1e-4)
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert explore(model, image).to_bytes(32) == clean


def test_noise_is_in_the_maps(models):
    """The maps of a layer with noise are those of its noisy weights, not of those that are put back."""
    model, image = models('crate_mini_imagenet'), picture()
    clean = explore(model, image)
    found = explore(model, image, [dict(kind='noise', layer=0, scale=1., seed=3)])
    a, b = (rows(each.header['layers'][0], each.arrays) for each in (found, clean))
    assert np.abs(a - b).max() > 1e-3
    assert found.header['layers'][0]['rates']['compression']['input'] != pytest.approx(
        clean.header['layers'][0]['rates']['compression']['input'], rel=1e-6)


THREE = [dict(kind='noise', layer=1, scale=0.5), dict(kind='head', layer=0, head=1), dict(kind='erase', patches=[0])]


@pytest.mark.parametrize('name, what_if', [
    *((name, what_if) for name in CLASSIFIERS + SEGMENTORS + OTHERS
      for what_if in ([], THREE, [dict(kind='skip', layer=0)])),
    *((name, [dict(kind='contraction', layer=None, value=value)])
      for name in ('cbt_mini_imagenet', *SEGMENTORS) for value in ('inverse', None))])
def test_an_optimised_model_shows_the_same(models, name, what_if):
    """Maps, tokens, rates and answer, disturbed or not."""
    found, expected = explore(optimize(models(name)), picture(), what_if), explore(models(name), picture(), what_if)
    assert found.arrays.keys() == expected.arrays.keys()
    for key, array in expected.arrays.items():
        if not key.endswith('pca'):  # directions of nearly equal variance turn with the rounding
            close(found.arrays[key], array)
    for layer, other in zip(found.header['layers'], expected.header['layers'], strict=True):
        rates, expected_rates = layer.pop('rates'), other.pop('rates')
        assert layer == other
        for quantity, stages in (expected_rates or {}).items():
            for stage, value in stages.items():
                assert rates[quantity][stage] == (value if value is None else pytest.approx(value, rel=1e-5, abs=1e-4))


@pytest.mark.parametrize('name', CLASSIFIERS + SEGMENTORS)
def test_a_skipped_layer_gives_what_it_got(models, name):
    model = models(name)
    found = explore(model, picture(), [dict(kind='skip', layer=1)])
    first, second = found.header['layers'][:2]
    np.testing.assert_array_equal(found.arrays[second['tokens']], found.arrays[first['tokens']])
    assert second['maps'] == {}
    for quantity, stages in second['rates'].items():
        if quantity != 'sparsity' and first['rates'][quantity]['feedforward'] is not None:
            values = {value for value in stages.values() if value is not None}
            assert len(values) == 1
    assert second['rates']['sparsity'] == dict(input=None, attention=None, feedforward=None)


@pytest.mark.parametrize('name', ['cbt_mini_imagenet', 'cbt_decoder_mini_ade20k'])
def test_values_that_are_no_numbers_are_kept_and_said(models, name):
    model = copy.deepcopy(models(name))
    with torch.no_grad():
        for parameter in list(attention_layers(model).values())[1].parameters():
            parameter.fill_(float('nan'))
    found = explore(model, picture())
    header, arrays = unpack(found.to_bytes())
    assert 'no numbers' in header['notes'][0] and np.isnan(arrays['layer1.tokens']).all()
    assert np.isfinite(arrays['layer0.tokens']).all()
    answer = arrays[header['prediction'].get('logits') or header['prediction']['probabilities']]
    assert np.isnan(answer).all() and not header['prediction'].get('top')


def test_refusals(models, tmp_path):
    model = models('crate_mini_imagenet')
    with pytest.raises(UserError, match='no layer 9'):
        explore(model, picture(), [dict(kind='skip', layer=9)])
    with pytest.raises(UserError, match='40 x 50 as the image, not 50 x 40'):
        explore(model, picture(), ground_truth=np.zeros((50, 40), int))
    with pytest.raises(UserError, match='array of class indices, not str'):
        explore(model, picture(), ground_truth='mask.png')
    with pytest.raises(UserError, match='of float64'):
        explore(model, picture(), ground_truth=np.zeros((40, 50)))
    (tmp_path / 'a.jpg').write_bytes(b'nothing')
    with pytest.raises(UserError, match='a.jpg'):
        explore(model, tmp_path / 'a.jpg')
    with pytest.raises(UserError, match='does not exist|no such|cannot read'):
        explore(model, tmp_path / 'b.jpg')
    model.train()
    try:
        with pytest.raises(UserError, match='training mode'):
            explore(model, picture())
    finally:
        model.eval()


def test_an_encoder_without_patches_is_refused():
    cfg = Config(dict(model=dict(
        type='EncoderDecoder', data_preprocessor=dict(type='SegDataPreProcessor', size=(64, 64)),
        backbone=dict(type='ResNetV1c', depth=18), test_cfg=dict(mode='whole'),
        decode_head=dict(type='FCNHead', in_channels=512, in_index=3, channels=8, num_classes=3, num_convs=1)),
        test_pipeline=[dict(type='LoadImageFromFile'), dict(type='PackSegInputs')]))
    with pytest.raises(UserError, match='ResNetV1c: the maps need the patch grid of an encoder of this package'):
        explore(init_model(cfg, device='cpu'), picture())


def test_mmsegs_own_heads(models):
    cfg = config('cbt_decoder_mini_ade20k')
    cfg.model.decode_head = dict(type='FCNHead', in_channels=192, in_index=-1, channels=8, num_classes=2,
                                 out_channels=1, num_convs=1, threshold=0.3)
    model = init_model(cfg, device='cpu')
    found = explore(model, picture())
    assert found.arrays['logits'].shape == (1, 9, 10) and found.header['prediction']['threshold'] == 0.3
    assert [layer['part'] for layer in found.header['layers']] == ['encoder'] * 2


def test_a_result_explores_the_model_that_made_it(models):
    model = init_model(config('crate_mini_imagenet'), device='cpu')
    result = inference_model(model, picture())
    found = result.explore([dict(kind='skip', layer=1)])
    expected = explore(model, picture(), [dict(kind='skip', layer=1)])
    assert np.array_equal(found.arrays['probabilities'], expected.arrays['probabilities'])
    with pytest.raises(UserError, match='The model of this result is gone'):
        copy.deepcopy(result).explore()
    del model, found, expected
    gc.collect()
    with pytest.raises(UserError, match='The model of this result is gone'):
        result.explore()


def test_facts_of_a_checkpoint(tmp_path):
    from mmwhitebox.apis.model_facts import describe_model
    from mmwhitebox.engine.scores.confusion import Confusion
    path, checkpoint = save_config(tmp_path, 'crate.py', config('crate_mini_imagenet'))
    best = tmp_path / 'best_accuracy_top1_iter_330.pth'
    state = torch.load(checkpoint)
    torch.save(dict(state, meta=dict(time='20260131_180507', iter=331, epoch=0)), best)
    names = init_model(path, str(best), 'cpu').dataset_meta['classes']
    confusion = Confusion.of_samples(names, [(np.array([0, 1, len(names) + 2]), np.array([3, 1, 4]))], 'images')
    entry = dict(step=330, unit='iteration', scores={'accuracy/top1': 87.5, 'loss': float('nan')},
                 confusion=confusion.as_json())
    kept = dict(last=dict(entry, step=400, confusion=None),
                best={'accuracy/top1': dict(entry, path=f'/elsewhere/{best.name}', metric='accuracy/top1', score=87.5)})
    (tmp_path / 'validation_classes.json').write_text(json.dumps(kept))
    described = describe_model(init_model(path, str(best), 'cpu'))
    facts = described['facts']
    assert described['name'] == 'crate' and described['palette'] is None and described['task'] == 'classification'
    assert (facts['config'], facts['checkpoint'], facts['date'], facts['trained']) == (
        f'{tmp_path.name}/crate.py', f'{tmp_path.name}/{best.name}', '2026-01-31 18:05', 'iteration 331')
    assert facts['metrics']['accuracy/top1'] == 87.5 and 'loss' not in facts['metrics']
    classes = facts['metrics']['classes']
    assert classes[names[0]]['Recall'] == 75 and classes[names[1]]['Recall'] == 100
    assert 'Recall' not in classes[names[2]]
    json.dumps(described, allow_nan=False)
    for name, metrics in (('iter_400.pth', {'accuracy/top1': 87.5}), ('iter_300.pth', None)):
        torch.save(state, tmp_path / name)
        facts = describe_model(init_model(path, str(tmp_path / name), 'cpu'))['facts']
        assert facts['metrics'] == metrics and facts['date'] is None and facts['trained'] is None
