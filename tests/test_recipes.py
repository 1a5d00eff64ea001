"""The published trainings: optimizer, learning rate of every epoch, initial statistics, parameter groups, pipelines.

The expected values stand here as the papers' codes have them, not as the configs do.
"""
import math

import numpy as np
import pytest
import torch
from mmengine.dataset import Compose
from mmengine.optim import build_optim_wrapper
from mmengine.registry import MODELS, PARAM_SCHEDULERS, TRANSFORMS, init_default_scope
from torch import nn

from tests.configs import config, reduced

CBT = ('cbt_tiny_imagenet', 'cbt_small_imagenet', 'cbt_base_imagenet', 'cbt_large_imagenet', 'crate_cbt_small_imagenet')
CRATE = ('crate_tiny_imagenet', 'crate_small_imagenet', 'crate_base_imagenet', 'crate_large_imagenet')
TOST = ('tost_tiny_imagenet', 'tost_small_imagenet', 'tost_medium_imagenet', 'tost_large_imagenet',
        'tost_tiny_p8_imagenet')
DMST = ('dmst_tiny_imagenet', 'dmst_small_imagenet')
DECODERS = ('cbt_decoder', 'depict_sa', 'depict_ca', 'segmenter_mask', 'segmenter_linear')
SEGMENTATION = [f'{decoder}{size}_ade20k' for decoder in DECODERS for size in ('', '_tiny', '_base', '_large')]


def load(name):
    cfg = config(name)
    init_default_scope(cfg.default_scope)
    return cfg


def rates(cfg, steps):
    """Learning rates of a config's schedulers after each step of a dummy optimizer with its optimizer settings."""
    parameter = nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([parameter], lr=cfg.optim_wrapper.optimizer.lr)
    schedulers = [PARAM_SCHEDULERS.build(dict(scheduler, optimizer=optimizer)) for scheduler in cfg.param_scheduler]
    seen = []
    for _ in range(steps):
        seen.append(optimizer.param_groups[0]['lr'])
        optimizer.step()
        for scheduler in schedulers:
            scheduler.step()
    return seen


@pytest.mark.parametrize('data, base, classes, smoothing, size', [
    *(('imagenet21k', 5e-5, 19167, 0., size) for size in ('base', 'large')),
    *(('finetune_imagenet', 1e-5, 1000, 0.1, size)
      for size in ('base', 'base_p32', 'base_p8', 'large', 'large_p32', 'large_p8'))])
def test_crate_alpha(data, base, classes, smoothing, size):
    """By iteration: from 0 over 10 epochs to the full rate, then a cosine of the other 81 to 1e-6."""
    cfg = load(f'crate_alpha_{size}_{data}')
    rate, optimizer = base * 4096 / 256, cfg.optim_wrapper.optimizer
    assert (optimizer.type, optimizer.lr, optimizer.betas, optimizer.weight_decay) == (
        'AdamW', pytest.approx(rate), (0.9, 0.95), 0.1)
    assert cfg.optim_wrapper.clip_grad == dict(max_norm=1.)
    iters = 20  # of an epoch
    for scheduler in cfg.param_scheduler:
        assert scheduler.pop('convert_to_iter_based') and scheduler.pop('by_epoch')
        scheduler.update(begin=iters * scheduler.begin, end=iters * scheduler.end)
    expected = [rate * i / 200 if i < 200 else 1e-6 + (rate - 1e-6) * (1 + math.cos(math.pi * (i - 200) / 1620)) / 2
                for i in range(1820)]
    assert rates(cfg, 1820) == pytest.approx(expected, rel=0.02, abs=0.006 * rate)
    assert cfg.train_cfg.max_epochs == 91 and cfg.auto_scale_lr.base_batch_size == 8 * cfg.train_dataloader.batch_size \
        == 4096
    assert cfg.model.head.num_classes == cfg.model.data_preprocessor.num_classes == classes
    assert cfg.model.head.loss.label_smooth_val == smoothing
    assert [dict(augment) for augment in cfg.model.train_cfg.augments] == [
        dict(type='Mixup', alpha=0.8), dict(type='CutMix', alpha=1.0)]
    steps = {step.type: step for step in cfg.train_dataloader.dataset.pipeline}
    assert steps['RandomResizedCrop'].get('crop_ratio_range', (0.08, 1.0)) == (0.08, 1.0) and 'RandomFlip' in steps
    assert ('RandAugment' in steps) == (data != 'imagenet21k')
    if 'RandAugment' in steps:
        augment = steps['RandAugment']
        assert (augment.num_policies, augment.magnitude_level, augment.total_level) == (2, 9, 10)
        assert augment.get('magnitude_std', 0.) == 0. and augment.policies == 'timm_increasing'
    steps = {step.type: step for step in cfg.test_dataloader.dataset.pipeline}
    assert steps['ResizeEdge'].scale == 256 and steps['CenterCrop'].crop_size == 224
    assert cfg.model.data_preprocessor.mean == [123.675, 116.28, 103.53]
    assert cfg.model.data_preprocessor.std == [58.395, 57.12, 57.375]
    patch = int(size.partition('_p')[2] or dict(base=16, large=14)[size])
    assert cfg.model.backbone.patch_size == patch and cfg.model.backbone.arch == f'crate-alpha-{size.split("_")[0]}'


def test_crate_mae():
    """MAE's: by iteration from 0 over 40 epochs to 1.5e-4 x 16, then a cosine of the other 760 to 0."""
    cfg = load('crate_mae_base_imagenet')
    optimizer, iters, peak = cfg.optim_wrapper.optimizer, 5, 1.5e-4 * 4096 / 256
    assert (optimizer.type, optimizer.lr, optimizer.betas, optimizer.weight_decay) == (
        'AdamW', pytest.approx(peak), (0.9, 0.95), 0.05)
    assert cfg.model.mask_ratio == 0.75 and cfg.model.head.norm_pix and cfg.train_cfg.max_epochs == 800
    crop = next(step for step in cfg.train_pipeline if step.type == 'RandomResizedCrop')
    assert (crop.crop_ratio_range, crop.interpolation) == ((0.2, 1.0), 'bicubic')
    for scheduler in cfg.param_scheduler:
        assert scheduler.pop('convert_to_iter_based') and scheduler.pop('by_epoch')
        scheduler.update(by_epoch=False, begin=scheduler.begin * iters, end=scheduler.end * iters)
    found, warm = rates(cfg, 800 * iters), 40 * iters
    assert found[0] < 1e-3 * peak and found[warm // 2] == pytest.approx(peak / 2, rel=0.02)
    assert found[warm] == pytest.approx(peak) and found[-1] < 1e-3 * peak
    assert found[420 * iters] == pytest.approx(peak / 2, rel=0.01)
    for key, decay in decays('crate_mae_base_imagenet').items():
        assert decay == (0. if key.endswith('bias') or 'norm' in key else 0.05), key
    for size in ('tiny', 'small', 'large'):
        assert load(f'crate_mae_{size}_imagenet').model.backbone.arch == f'crate-mae-{size}'


def test_simdino():
    """DINO's: the rate from 0 over 10 epochs to 5e-4 x batch / 256 and down to 1e-6; the decay up from 0.04 to 0.4."""
    cfg = load('simdino_vit_base_imagenet')
    optimizer, iters, peak = cfg.optim_wrapper.optimizer, 5, 5e-4 * 512 / 256
    assert (optimizer.type, optimizer.lr, optimizer.weight_decay) == ('AdamW', pytest.approx(peak), 0.04)
    assert cfg.optim_wrapper.clip_grad == dict(max_norm=3.) and cfg.train_cfg.max_epochs == 100
    for scheduler in cfg.param_scheduler:
        assert scheduler.pop('convert_to_iter_based') and scheduler.pop('by_epoch')
        scheduler.update(by_epoch=False, begin=scheduler.begin * iters, end=scheduler.end * iters)
    wd = [scheduler for scheduler in cfg.param_scheduler if 'WeightDecay' in scheduler.type]
    cfg.param_scheduler = [scheduler for scheduler in cfg.param_scheduler if scheduler not in wd]
    found, warm = rates(cfg, 100 * iters), 10 * iters
    assert found[0] < 1e-3 * peak and found[warm // 2] == pytest.approx(peak / 2, rel=0.03)
    assert found[warm] == pytest.approx(peak) and found[-1] < 2e-3 * peak
    assert found[55 * iters] == pytest.approx(peak / 2, rel=0.01)

    groups = [dict(params=[nn.Parameter(torch.zeros(1))], weight_decay=decay) for decay in (0.04, 0.)]
    optimizer = torch.optim.SGD(groups, lr=1.)
    scheduler, = (PARAM_SCHEDULERS.build(dict(each, optimizer=optimizer)) for each in wd)
    for i in range(100 * iters):
        expected = 0.4 - 0.36 * (1 + math.cos(math.pi * i / (100 * iters))) / 2
        assert optimizer.param_groups[0]['weight_decay'] == pytest.approx(expected, rel=1e-6)
        assert optimizer.param_groups[1]['weight_decay'] == 0
        optimizer.step()
        scheduler.step()
    for name in ('simdino_vit_small_imagenet', 'simdino_crate_base_imagenet', 'simdino_cbt_small_imagenet'):
        assert load(name).model.momentum == 0.996 and load(name).model.backbone.drop_path_rate == 0.1
    for key, decay in decays('simdino_crate_base_imagenet').items():
        one_axis = key.endswith(('bias', 'gamma')) or 'norm' in key
        assert decay == (0. if one_axis else 0.04), key


def test_simdino_sees_dinos_crops():
    """Two global crops and eight local ones; their colours and sizes."""
    cfg = load('simdino_vit_base_imagenet')
    multi = cfg.train_pipeline[1]
    assert multi.num_views == [1, 1, 8]
    sizes = [(steps[0].scale, tuple(steps[0].crop_ratio_range), steps[0].interpolation) for steps in multi.transforms]
    assert sizes == [(224, (0.4, 1.0), 'bicubic')] * 2 + [(96, (0.05, 0.4), 'bicubic')]
    for steps, blurred, solarized in zip(multi.transforms, (1.0, 0.1, 0.5), (0, 0.2, 0)):
        by_type = {step.type: step for step in steps}
        jitter = by_type['RandomApply']
        assert (jitter.prob, dict(jitter.transforms)) == (0.8, dict(
            type='ColorJitter', brightness=0.4, contrast=0.4, saturation=0.2, hue=0.1))
        assert by_type['RandomFlip'].prob == 0.5 and by_type['RandomGrayscale'].prob == 0.2
        assert by_type['GaussianBlur'].prob == blurred
        assert by_type.get('Solarize', {}).get('prob', 0) == solarized
    pipeline = Compose(cfg.train_pipeline[1:])
    image = np.random.default_rng(0).integers(0, 256, (180, 200, 3), dtype=np.uint8)
    packed = pipeline(dict(img=image))
    assert [tuple(view.shape) for view in packed['inputs']] == [(3, 224, 224)] * 2 + [(3, 96, 96)] * 8
    assert len({view.float().mean().item() for view in packed['inputs']}) == 10
    blur = TRANSFORMS.build(dict(cfg.blur, prob=1.0))
    radii = [blur.random_magnitude() for _ in range(200)]
    assert 0.1 <= min(radii) < 0.2 and 1.9 < max(radii) <= 2.0


def test_crate_alpha_decays_kernels_alone():
    for key, decay in decays('crate_alpha_base_finetune_imagenet').items():
        kernel = key.endswith('weight') and 'norm' not in key
        assert decay == (0.1 if kernel else 0.), key
    assert {key.rsplit('.')[-1] for key in decays('crate_alpha_base_imagenet21k')} == {
        'weight', 'bias', 'table', 'cls_token', 'dictionary', 'dictionary_out'}


def test_attention_only_is_crate_without_ista():
    cfg, crate = (load(f'crate_{name}base_imagenet') for name in ('aot_', ''))
    assert cfg.model.backbone.pop('feedforward') is None
    assert cfg.to_dict() == crate.to_dict()
    layer = MODELS.build(dict(reduced('crate/crate_aot_base_imagenet.py').model.backbone)).layers[0]
    assert layer.ffn is None


@pytest.mark.parametrize('name', [*CBT, *CRATE])
def test_cbt_and_crate_rate_of_every_epoch(name):
    cfg = load(name)
    epochs, batch = (200, 64) if name in CRATE else (150, 32)
    expected = [2e-4 * min((e + 1) / 20, (1 + math.cos(math.pi * e / epochs)) / 2) for e in range(epochs)]
    assert rates(cfg, epochs) == pytest.approx(expected, rel=1e-9)
    assert cfg.train_cfg.max_epochs == epochs
    assert cfg.train_dataloader.batch_size == batch and cfg.auto_scale_lr.base_batch_size == 8 * batch


@pytest.mark.parametrize('name', [*TOST, *DMST])
def test_tost_and_dmst_rate_of_every_epoch(name):
    cfg = load(name)
    lr, batch = (1e-3, 128) if name in TOST else (5e-4, 64)
    assert lr == pytest.approx(5e-4 * 8 * batch / 512)
    expected = [1e-6 + (lr - 1e-6) * e / 5 if e < 5 else
                1e-5 + (lr - 1e-5) * (1 + math.cos(math.pi * e / 400)) / 2 for e in range(400)]
    assert rates(cfg, 400) == pytest.approx(expected, rel=1e-9)
    assert cfg.train_cfg.max_epochs == 400 and cfg.train_dataloader.batch_size == batch


@pytest.mark.parametrize('name', SEGMENTATION)
def test_segmentation_optimizer_and_rate(name):
    cfg = load(name)
    iters = cfg.train_cfg.max_iters
    assert round(iters / 1e3, 1) == 161.7 and iters % 64 == 0
    optimizer = dict(cfg.optim_wrapper.optimizer)
    assert (optimizer['type'], optimizer['momentum'], optimizer['nesterov'], optimizer['weight_decay']) == (
        'SGD', 0.9, True, 0)
    assert cfg.param_scheduler[0].end == iters + 1
    cfg.param_scheduler[0].end = 51  # the same polynomial, shorter
    assert rates(cfg, 51) == pytest.approx([1e-5 + (1e-3 - 1e-5) * (1 - i / 50)**0.9 for i in range(51)], rel=1e-6)
    assert cfg.model.backbone.norm_eps == 1e-5


@pytest.mark.parametrize('name', [*CBT, *CRATE, *TOST, *DMST])
def test_mixed_precision(name):
    wrapper = load(name).optim_wrapper
    assert (wrapper.type, wrapper.dtype, wrapper.loss_scale) == ('AmpOptimWrapper', 'float16', 'dynamic')


def decays(name):
    """Weight decay of every parameter of a reduced model."""
    cfg = reduced(f'{name}.py')
    init_default_scope(cfg.default_scope)
    model = MODELS.build(cfg.model)
    optimizer = build_optim_wrapper(model, cfg.optim_wrapper).optimizer
    decay = {id(p): group['weight_decay'] for group in optimizer.param_groups for p in group['params']}
    return {key: decay[id(p)] for key, p in model.named_parameters() if p.requires_grad}


@pytest.mark.parametrize('name, decay', [
    ('cbt_small_imagenet', 0.05), ('crate_base_imagenet', 0.05), ('cbt_small_finetune_cifar10', 0.01),
    ('vit_cbsa_small_finetune_imagenet_384', 0.01)])
def test_every_parameter_is_decayed(name, decay):
    assert set(decays(name).values()) == {decay}


@pytest.mark.parametrize('name', ['tost_tiny_imagenet', 'dmst_tiny_imagenet'])
def test_tost_decays_matrices_and_temperatures(name):
    for key, decay in decays(name).items():
        matrix = key.endswith(('weight', 'temp')) and 'norm' not in key and '.stem.' not in key
        if '.stem.' not in key:
            assert decay == (0.05 if matrix else 0.), key


def test_tuned_recipe_spares_norms_biases_positions():
    decayed = {key for key, decay in decays('cbt_small_tuned_imagenet').items() if decay}
    assert decayed and not any('norm' in key or key.endswith(('bias', 'cls_token', 'table')) for key in decayed)


@pytest.mark.parametrize('name, rate, depth', [
    ('tost_tiny_imagenet', 0., 12), ('tost_small_imagenet', 0.05, 12), ('tost_medium_imagenet', 0.15, 24),
    ('dmst_small_imagenet', 0.05, 12)])
def test_drop_path_is_constant(name, rate, depth):
    backbone = load(name).model.backbone
    with torch.device('meta'):
        layers = MODELS.build(backbone).layers
    assert [getattr(layer.drop_path, 'drop_prob', 0.) for layer in layers] == [rate] * depth


@pytest.mark.parametrize('name', ['cbt_decoder_tiny_ade20k', 'depict_sa_tiny_ade20k', 'depict_ca_tiny_ade20k'])
def test_decoder_starts_from_truncated_normal(name):
    head_cfg = load(name).model.decode_head
    weights, tokens = [], []
    for _ in range(5):
        head = MODELS.build(head_cfg)
        head.init_weights()
        tokens.append(head.cls_tokens.detach().flatten())
        for module in head.modules():
            if isinstance(module, nn.Linear):
                weights.append(module.weight.detach().flatten())
                assert module.bias is None or not module.bias.any()
    assert torch.cat(tokens).std().item() == pytest.approx(0.02, rel=0.03)
    if name.startswith('cbt'):
        assert torch.cat(weights).std().item() == pytest.approx(0.02, rel=0.03)


def test_segmenter_decoder_start_and_dropout():
    cfg = load('segmenter_mask_tiny_ade20k').model.decode_head
    head = MODELS.build(cfg)
    head.init_weights()
    attention = head.layers[0].attn.attn
    assert attention.in_proj_weight.std().item() == pytest.approx(0.02, rel=0.03) and not attention.in_proj_bias.any()
    assert attention.out_proj.weight.std().item() == pytest.approx(0.02, rel=0.03)
    for projection in (head.patch_proj, head.classes_proj):
        assert projection.weight.std().item() == pytest.approx(192**-0.5, rel=0.03)
    assert attention.dropout == 0.1
    assert [m.p for m in head.layers[0].modules() if isinstance(m, nn.Dropout)].count(0.1) == 3  # output, both of MLP


def test_linear_decoder_start():
    head = MODELS.build(load('segmenter_linear_ade20k').model.decode_head)
    head.init_weights()
    assert head.conv_seg.weight.std().item() == pytest.approx(0.02, rel=0.03)


@pytest.mark.parametrize('name', ['cbt_tiny_imagenet', 'crate_tiny_imagenet', 'tost_tiny_imagenet'])
def test_classifier_head_starts_as_torch_does(name):
    cfg = load(name).model.head
    head = MODELS.build(cfg)
    head.init_weights()
    bound = cfg.in_channels**-0.5
    assert head.fc.weight.std().item() == pytest.approx(bound / 3**0.5, rel=0.03)
    assert head.fc.weight.abs().max().item() <= bound and head.fc.bias.abs().max().item() > 0


def test_tost_position_projection_starts_as_a_convolution():
    cfg = reduced('tost/tost_small_imagenet.py').model.backbone
    encoder = MODELS.build(cfg)
    encoder.init_weights()
    projection = encoder.pos_embed.proj
    assert projection.weight.std().item() == pytest.approx(64**-0.5 / 3**0.5, rel=0.03)
    assert encoder.layers[0].ffn.fc1.weight.std().item() == pytest.approx(0.02, rel=0.03)


def test_random_erasing_leaves_the_range_of_bytes():
    step = next(step for step in load('tost_tiny_imagenet').train_dataloader.dataset.pipeline
                if step.type.endswith('RandomErasing'))
    erase = TRANSFORMS.build({**step, 'erase_prob': 1.0, 'min_area_ratio': 1.0, 'max_area_ratio': 1.0})
    np.random.seed(0)
    image = erase(dict(img=np.zeros((96, 96, 3), np.uint8)))['img']
    noise = (image - np.array([103.53, 116.28, 123.675])) / np.array([57.375, 57.12, 58.395])
    filled = noise[image.any(-1)]
    assert filled.std() == pytest.approx(1, rel=0.03) and abs(filled.mean()) < 0.03
    assert image.min() < 0 and image.max() > 255


def test_augmentation_of_tost():
    cfg = load('tost_small_imagenet')
    assert cfg.train_dataloader.sampler == dict(type='RepeatAugSampler')
    assert [step.type for step in cfg.train_dataloader.dataset.pipeline][1:-1] == [
        'RandomResizedCrop', 'RandomFlip', 'RandAugment', 'mmwhitebox.RandomErasing']
    (hook, ) = cfg.custom_hooks
    assert hook.type == 'mmwhitebox.BesideEMAHook' and 1 - hook.momentum == pytest.approx(0.99996)


@pytest.mark.parametrize('name', ['cifar10', 'cifar100', 'flowers102', 'pets', 'food101', 'svhn'])
def test_fine_tuning(name):
    cfg = load(f'cbt_small_finetune_{name}')
    steps = cfg.train_dataloader.dataset.pipeline
    types = [step.type for step in steps]
    assert types[1:3] == ['RandomResizedCrop', 'RandAugment'] and ('RandomFlip' in types) == (name != 'svhn')
    assert (steps[2].num_policies, steps[2].magnitude_level, steps[2].total_level) == (2, 14, 30)
    assert cfg.model.head.loss == dict(type='CrossEntropyLoss')
    if name == 'flowers102':
        assert cfg.train_dataloader.dataset.split == 'train'


@pytest.mark.parametrize('size, dims', [('tiny', 192), ('small', 384), ('base', 768), ('large', 1024)])
def test_vit_adaptation(size, dims):
    cfg = load(f'vit_cbsa_{size}_finetune_imagenet_384')
    expected = [5e-5 * min((e + 1) / 10, (1 + math.cos(math.pi * e / 50)) / 2) for e in range(50)]
    assert rates(cfg, 50) == pytest.approx(expected, rel=1e-9)
    head = cfg.model.head
    assert head.in_channels == dims and head.loss.label_smooth_val == 0.1
    assert head.init_cfg.model_name == cfg.model.backbone.model_name


def test_head_takes_timms_classifier(tmp_path):
    import timm
    vit = timm.create_model('test_vit', num_classes=7)
    torch.save(vit.state_dict(), tmp_path / 'vit.pth')
    init_default_scope('mmpretrain')
    head = MODELS.build(dict(
        type='LinearClsHead', num_classes=1000, in_channels=64, init_cfg=dict(
            type='mmwhitebox.TimmClassifier', model_name='test_vit', pretrained=str(tmp_path / 'vit.pth'))))
    full = timm.create_model('test_vit')
    torch.save(full.state_dict(), tmp_path / 'vit.pth')
    head.init_weights()
    assert torch.equal(head.fc.weight, full.head.weight) and torch.equal(head.fc.bias, full.head.bias)
    small = MODELS.build(dict(
        type='LinearClsHead', num_classes=7, in_channels=64, init_cfg=dict(
            type='mmwhitebox.TimmClassifier', model_name='test_vit', pretrained=str(tmp_path / 'vit.pth'))))
    with pytest.raises(ValueError, match='head.num_classes'):
        small.init_weights()


@pytest.mark.parametrize('data, epochs, images, batch, lr, scale, crop, classes', [
    ('cityscapes', 216, 2975, 8, 1e-2, (2048, 1024), 768, 19),
    ('pascal_context', 256, 4998, 16, 1e-3, (2080, 520), 480, 60)])
@pytest.mark.parametrize('decoder', DECODERS)
def test_cityscapes_and_pascal_context(decoder, data, epochs, images, batch, lr, scale, crop, classes):
    for size in ('small', 'large'):
        cfg = load(f'{decoder}_{size}_{data}')
        assert cfg.train_cfg.max_iters == epochs * (images // batch)
        assert cfg.optim_wrapper.optimizer.lr == lr and cfg.optim_wrapper.optimizer.nesterov
        assert cfg.param_scheduler[0].end == cfg.train_cfg.max_iters + 1
        assert cfg.train_dataloader.batch_size * 8 == batch == cfg.auto_scale_lr.base_batch_size
        assert cfg.train_pipeline[2].scale == cfg.test_pipeline[1].scale == scale
        assert cfg.train_pipeline[3].crop_size == cfg.model.test_cfg.crop_size == (crop, crop)
        assert cfg.model.decode_head.num_classes == cfg.train_pipeline[1].num_classes == classes


@pytest.mark.parametrize('name, crop, stride', [
    ('cbt_decoder_ade20k', 512, 480), ('cbt_decoder_large_ade20k', 640, 608), ('segmenter_mask_large_ade20k', 640, 608),
    ('depict_sa_small_cityscapes', 768, 512), ('cbt_decoder_large_pascal_context', 480, 320)])
def test_windows_of_the_published_evaluation(name, crop, stride):
    cfg = load(name).model
    assert not cfg.data_preprocessor.get('test_cfg')  # no padding before the windows are cut
    assert dict(cfg.test_cfg) == dict(
        mode='slide', crop_size=(crop, crop), stride=(stride, stride), enlarge=True, val=dict(stride=(crop, crop)))


@pytest.mark.parametrize('name, resize, crop, how', [
    ('tost_tiny_imagenet', 224, 224, 'bicubic'), ('dmst_small_imagenet', 224, 224, 'bicubic'),
    ('vit_cbsa_base_finetune_imagenet_384', 438, 384, 'bilinear'), ('cbt_small_imagenet', 256, 224, 'bilinear'),
    ('crate_base_imagenet', 256, 224, 'bilinear')])
def test_crops_of_the_published_scores(name, resize, crop, how):
    cfg = load(name)
    steps = {step.type: step for step in cfg.test_dataloader.dataset.pipeline}
    assert (steps['ResizeEdge'].scale, steps['ResizeEdge'].interpolation) == (resize, how)
    assert steps['CenterCrop'].crop_size == crop
    assert cfg.model.data_preprocessor.mean == [123.675, 116.28, 103.53]
