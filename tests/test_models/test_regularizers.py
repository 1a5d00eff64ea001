"""Regularizers of segmentors and classifiers: sparse rate reduction and MCR2 by config."""
import pytest
import torch
from mmengine.config import Config
from mmengine.optim import OptimWrapper
from mmengine.registry import MODELS, init_default_scope
from mmengine.structures import PixelData
from mmpretrain.structures import DataSample
from mmseg.structures import SegDataSample

from mmwhitebox.config.check import check_config
from mmwhitebox.errors import ConfigError
from mmwhitebox.interpret import capture, compression_layers, layer_rates
from mmwhitebox.models.rate_reduction import RateReductionLoss

SRR = dict(type='mmwhitebox.SparseRateRegularizer', weight=0.1, eps_squared=0.3, lam=0.2)
MCR2 = dict(type='mmwhitebox.RateReductionLoss')
MSSA, TSSA = dict(type='MSSA'), dict(type='TSSA', qkv_bias=True)


def arch(attention=MSSA, feedforward=dict(type='ISTA'), **changes):
    return dict(dict(embed_dims=12, num_layers=3, num_heads=2, attention=attention, feedforward=feedforward,
                     stem=dict(type='PatchConv')), **changes)


def classifier_config(*regularizers, backbone=None, **changes):
    return dict(
        type='mmwhitebox.ImageClassifier', regularizers=list(regularizers),
        backbone={'type': 'mmwhitebox.WhiteBoxTransformer', 'arch': arch(), 'img_size': 32, 'patch_size': 8,
                  **(backbone or {})},
        head=dict(type='LinearClsHead', num_classes=3, in_channels=12), **changes)


def build(cfg, scope='mmpretrain'):
    init_default_scope(scope)
    torch.manual_seed(0)
    return MODELS.build(cfg).train()


def classifier(*regularizers, **changes):
    return build(classifier_config(*regularizers, **changes))


def segmentor(*regularizers, attention=dict(type='CBSA', num_heads=2, pool_size=2), **changes):
    return build(dict(
        type='mmwhitebox.EncoderDecoder', regularizers=list(regularizers),
        backbone=dict(type='mmwhitebox.TimmViT', model_name='vit_tiny_patch16_224', img_size=32, out_indices=(0, ),
                      pretrained=False),
        decode_head=dict(type='mmwhitebox.WhiteBoxMaskHead', in_channels=192, channels=12, num_classes=4, num_layers=2,
                         attention=attention, loss_decode=dict(type='CrossEntropyLoss')),
        test_cfg=dict(mode='slide', crop_size=(32, 32), stride=(16, 16)), **changes), 'mmseg')


def batch(count=4, dtype=torch.float32):
    generator = torch.Generator().manual_seed(1)
    images = torch.randn(count, 3, 32, 32, generator=generator).to(dtype)
    return images, [DataSample().set_gt_label(i % 3) for i in range(count)]


def seg_batch(size=32):
    generator = torch.Generator().manual_seed(1)
    labels = torch.randint(0, 4, (2, 1, size, size), generator=generator)
    meta = dict(img_shape=(size, size), ori_shape=(size, size), pad_shape=(size, size))
    return torch.randn(2, 3, size, size, generator=generator), [
        SegDataSample(gt_sem_seg=PixelData(data=label), metainfo=meta) for label in labels]


def total(losses):
    return sum(value for key, value in losses.items() if 'loss' in key)


def gradients(model, inputs, samples):
    model.zero_grad()
    total(model.loss(inputs, samples)).backward()
    return {name: p.grad.clone() for name, p in model.named_parameters()}


def outputs_of(modules, run):
    found = {}
    handles = [module.register_forward_hook(lambda m, args, out, i=i: found.setdefault(i, out))
               for i, module in enumerate(modules)]
    run()
    for handle in handles:
        handle.remove()
    return [found[i].detach() for i in range(len(modules))]


def log_det(w, eps_squared):
    n, p = w.shape
    return torch.logdet(torch.eye(p, dtype=w.dtype) + p / (n * eps_squared) * w.T @ w) / 2


def expected_terms(layers, tokens, eps_squared=0.3):
    """Compression, expansion and l1 norm per token, summed over layers, averaged over images, image by image."""
    sums = torch.zeros(3, dtype=torch.float64)
    for layer, z in zip(layers, tokens):
        attention = layer.attn
        u = getattr(attention, 'proj', getattr(attention, 'qkv', None))
        for image in z:
            x = torch.layer_norm(image, image.shape[-1:], layer.norm1.weight, layer.norm1.bias, layer.norm1.eps)
            w = x @ u.weight.T + (0 if u.bias is None else u.bias)
            heads = w.chunk(attention.num_heads, dim=1)
            sums += torch.stack([sum(log_det(head, eps_squared) for head in heads), log_det(image, eps_squared),
                                 image.abs().sum()]).detach() / len(image) / len(z)
    return sums


@pytest.mark.parametrize('backbone', [
    dict(), dict(arch=arch(TSSA, dict(type='MLP'), layer_scale_init_value=0.1, num_class_layers=1)),
    dict(arch=arch(dict(type='CBSA', pool_size=2), None)),
    dict(arch=arch([MSSA, dict(type='Agent', pool_size=2), dict(type='MSSA', orthogonal='head')]))],
    ids=['crate', 'tost', 'attention-only', 'mixed'])
def test_srr_is_the_formula(backbone):
    model = classifier(SRR, backbone=backbone).double()
    images, samples = batch(dtype=torch.float64)
    losses = model.loss(images, samples)
    layers = model.backbone.layers
    tokens = outputs_of(layers, lambda: model.backbone(images))
    compression, expansion, norm = expected_terms(layers, tokens)
    is_sparse = type(layers[0].ffn).__name__ == 'ISTA'
    expected = 0.1 * (compression - expansion + (0.2 * norm if is_sparse else 0))
    torch.testing.assert_close(losses['srr.loss'].detach(), expected)
    torch.testing.assert_close(losses['srr.compression'], compression)
    torch.testing.assert_close(losses['srr.expansion'], expansion)
    assert ('srr.sparsity' in losses) == is_sparse
    if is_sparse:
        torch.testing.assert_close(losses['srr.sparsity'], norm)


def test_its_gradient_is_that_of_finite_differences():
    model = classifier(SRR).double()
    images, samples = batch(2, torch.float64)
    model.zero_grad()
    model.loss(images, samples)['srr.loss'].backward()
    parameters = [p for name, p in model.named_parameters() if not name.startswith('head.')]
    generator = torch.Generator().manual_seed(2)
    for names in (parameters[:1], parameters):  # of one, and of all together
        directions = [torch.randn(p.shape, generator=generator, dtype=p.dtype) for p in names]
        slope = sum((p.grad * d).sum() for p, d in zip(names, directions) if p.grad is not None)
        values, step = [], 1e-6
        for sign in (1, -2):
            with torch.no_grad():
                for p, d in zip(names, directions):
                    p += sign * step * d
                values.append(model.loss(images, samples)['srr.loss'])
        with torch.no_grad():
            for p, d in zip(names, directions):
                p += step * d
        torch.testing.assert_close(slope, (values[0] - values[1]) / (2 * step), rtol=1e-5, atol=1e-8)


def test_it_is_what_measure_coding_rate_shows():
    model = classifier(dict(SRR, layers=[0, 2], eps_squared=0.01)).double()
    images, samples = batch(dtype=torch.float64)
    losses = model.loss(images, samples)
    layers = [layer for i, layer in enumerate(compression_layers(model)) if i != 1]
    with capture({name: m for layer in layers for name, m in layer.modules.items()}) as calls, torch.no_grad():
        model.backbone(images)
    rates = [layer_rates(layer, calls)['feedforward'] for layer in layers]
    for key in ('compression', 'expansion'):
        shown = sum(rate[key].mean() for rate in rates)
        torch.testing.assert_close(losses[f'srr.{key}'], shown / ((32 // 8)**2 + 1))


def steps(model, count=3):
    optimizer = OptimWrapper(torch.optim.AdamW(model.parameters(), 1e-2))
    images, samples = batch()
    torch.manual_seed(3)
    logs = [model.train_step(dict(inputs=list(images), data_samples=samples), optimizer) for _ in range(count)]
    return model.state_dict(), logs


def test_without_weight_it_only_looks():
    drops = dict(drop_path_rate=0.5)
    plain, plain_logs = steps(classifier(backbone=drops))
    looked, logs = steps(classifier(dict(SRR, weight=0), backbone=drops))
    trained, _ = steps(classifier(SRR, backbone=drops))
    assert all(torch.equal(plain[key], looked[key]) for key in plain)
    assert not all(torch.equal(plain[key], trained[key]) for key in plain)
    assert 'srr.loss' not in logs[0] and logs[0]['srr.compression'] > 0 and logs[-1]['loss'] == plain_logs[-1]['loss']


def test_the_logged_loss_is_the_sum():
    _, (log, ) = steps(classifier(SRR, dict(SRR, layers=-1), MCR2), 1)
    parts = [log[key] for key in ('loss_cls', 'srr_0.loss', 'srr_1.loss', 'mcr2.loss')]
    torch.testing.assert_close(log['loss'], sum(parts))
    assert log['srr_0.compression'] > log['srr_1.compression'] > 0


def test_layers_add_up_and_count_from_the_end():
    images, samples = batch()
    values = [classifier(dict(SRR, layers=layers)).loss(images, samples)['srr.loss']
              for layers in (0, [1], [-1], None, (2, 0, 1, 1))]
    torch.testing.assert_close(values[0] + values[1] + values[2], values[3])
    assert values[3] == values[4]


def test_nothing_is_left_behind_and_evaluation_is_as_without():
    images, samples = batch()
    model, plain = classifier(SRR, MCR2), classifier()
    assert model.state_dict().keys() == plain.state_dict().keys()
    model.loss(images, samples)
    with pytest.raises(TypeError):
        model.loss(images, [None] * 4)
    assert not any(m._forward_hooks for m in model.modules())
    model.eval(), plain.eval()
    assert list(model.loss(images, samples)) == list(plain.loss(images, samples)) == ['loss']
    torch.testing.assert_close(model(images), plain(images), rtol=0, atol=0)


def test_a_segmentor_has_it_on_its_decoder_and_predicts_as_without():
    model, plain = segmentor(SRR), segmentor()
    losses = model.loss(*seg_batch())
    assert list(losses) == ['decode.loss_ce', 'decode.acc_seg', 'srr.loss', 'srr.compression', 'srr.expansion']
    layers = model.decode_head.layers
    tokens = outputs_of(layers, lambda: model.loss(*seg_batch()))
    for layer in layers:
        layer.norm1 = layer.norm
    expected = expected_terms(layers.double(), [z.double() for z in tokens])
    torch.testing.assert_close(losses['srr.compression'].double(), expected[0], rtol=1e-5, atol=1e-6)
    images, samples = seg_batch(48)
    with torch.no_grad():
        maps = [m.eval().predict(images, [s.clone() for s in samples]) for m in (segmentor(SRR), plain)]
    assert all(torch.equal(a.pred_sem_seg.data, b.pred_sem_seg.data) for a, b in zip(*maps))


def test_recomputed_activations_give_the_same():
    kept, recomputed = (gradients(classifier(SRR, backbone=dict(with_cp=with_cp)), *batch()) for with_cp in (0, 1))
    assert all(torch.equal(kept[name], recomputed[name]) for name in kept)


def test_compiled_networks_give_the_same():
    model = classifier(SRR, backbone=dict(arch=arch(num_layers=1)))
    expected = gradients(model, *batch())
    model.backbone.compile(backend='eager')
    for _ in range(2):
        found = gradients(model, *batch())
        with torch.no_grad():
            model.eval()(batch()[0])
        model.train()
    for name in expected:
        torch.testing.assert_close(found[name], expected[name])
    torch.compiler.reset()


def test_bfloat16_autocast_is_near():
    exact, rounded = classifier(SRR), classifier(SRR)
    losses = exact.loss(*batch())
    with torch.autocast('cpu', torch.bfloat16):
        found = rounded.loss(*batch())
    for key in ('srr.loss', 'srr.compression', 'srr.expansion', 'srr.sparsity'):
        assert found[key].dtype == torch.float32
        torch.testing.assert_close(found[key], losses[key], rtol=0.03, atol=0.03)
    total(found).backward()
    assert all(p.grad.isfinite().all() for p in rounded.parameters())


def test_accumulated_halves_are_the_whole_batch():
    images, samples = batch()
    whole = gradients(classifier(SRR), images, samples)
    model = classifier(SRR)
    for half in (slice(2), slice(2, 4)):
        (total(model.loss(images[half], samples[half])) / 2).backward()
    for name, p in model.named_parameters():
        torch.testing.assert_close(p.grad, whole[name])


def test_mcr2_is_on_the_features_of_the_head():
    model = classifier(dict(MCR2, loss_weight=0.5))
    images, samples = batch(6)
    loss = model.loss(images, samples)['mcr2.loss']
    torch.testing.assert_close(loss, 0.5 * RateReductionLoss()(model.backbone(images)[-1], torch.arange(6) % 3))
    loss.backward()
    assert model.backbone.layers[0].attn.proj.weight.grad.abs().sum() > 0 and model.head.fc.weight.grad is None


def mixing():
    return classifier(MCR2, train_cfg=dict(augments=dict(type='Mixup', alpha=0.8)))


def of_timm():
    backbone = dict(type='mmwhitebox.TimmViT', model_name='vit_tiny_patch16_224', img_size=32,
                    out_indices=(0, ), pretrained=False, out_type='cls_token')
    return build(dict(classifier_config(SRR), backbone=backbone))


@pytest.mark.parametrize('make, said', [
    (lambda: classifier(dict(SRR, weight=-1)), 'weight=-1: the weight of a loss is a number from 0 up'),
    (lambda: classifier(dict(SRR, weight=float('nan'))), 'weight=nan'),
    (lambda: classifier(dict(SRR, lam=-0.1)), 'lam=-0.1'),
    (lambda: classifier(dict(SRR, eps_squared=0)), 'eps_squared=0: the precision of a code is a number above 0'),
    (lambda: classifier(dict(SRR, layers=[1, 7, -4])), r'layers=\[1, 7, -4\]: 7, -4 names no .*: 0, 1, 2\.$'),
    (lambda: classifier(dict(SRR, layers=[])), r'layers=\[\]: nothing names no'),
    (lambda: classifier(dict(SRR, layers=-1), backbone=dict(arch=arch(TSSA, num_class_layers=1))),
     r'layers=\[-1\]: -1 names no layer with subspaces. These have them: 0, 1, 2\.$'),
    (of_timm, r'no layer of this model compresses in subspaces \(its attention: Attention\)'),
    (lambda: classifier(SRR, backbone=dict(arch=arch(dict(type='MHSA')))), r'its attention: MHSA'),
    (lambda: classifier(dict(type='LabelSmoothLoss', label_smooth_val=0.1)), 'regularizers.0: LabelSmoothLoss is no'),
    (lambda: classifier(dict(MCR2, loss_weight=-1)), 'loss_weight=-1'),
    (mixing, 'mixed images'),
    (lambda: segmentor(MCR2), 'features and labels of a classifier .* not of EncoderDecoder with WhiteBoxMaskHead'),
])
def test_what_cannot_work_is_refused_in_one_line_when_it_is_built(make, said):
    with pytest.raises(ConfigError, match=said) as error:
        make()
    assert '\n' not in str(error.value)


@pytest.mark.parametrize('model, said', [
    (classifier_config(dict(type='mmwhitebox.SparseRateRegulariser', weight=1)), 'regularizers.0.type: unknown type'),
    (classifier_config(dict(SRR, wieght=1)), "regularizers.0.wieght: unknown key; did you mean 'weight'"),
    (classifier_config(dict(weight=1)), 'regularizers.0: the key type is missing'),
    (dict(classifier_config(SRR), type='ImageClassifier'), "model.regularizers: .*'mmwhitebox.ImageClassifier'"),
    (dict(type='EncoderDecoder', regularizers=[SRR]), "model.regularizers: .*'mmwhitebox.EncoderDecoder'"),
])
def test_a_config_is_checked(model, said):
    with pytest.raises(ConfigError, match=said):
        check_config(Config(dict(default_scope='mmpretrain' if 'head' in model else 'mmseg', model=model)))
