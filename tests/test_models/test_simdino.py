"""SimDINO: crops, teacher and loss by independent computation, degenerate images, mistakes, the encoder elsewhere."""
import copy
import math

import pytest
import torch
import torch.nn.functional as F
from mmengine.logging import MessageHub
from mmengine.optim import build_optim_wrapper
from mmengine.registry import MODELS, init_default_scope

from mmwhitebox.errors import ConfigError, UserError
from mmwhitebox.interpret.knn import knn_scores
from mmwhitebox.interpret.perturbation import attention_projections
from mmwhitebox.models.access import adopt_teacher, image_features, logits, preprocessed
from mmwhitebox.models.attention_layers import attention_layers
from mmwhitebox.models.backbones import WhiteBoxTransformer
from mmwhitebox.models.embeddings import LearnedPositions
from mmwhitebox.models.rate_reduction import SimDINOLoss
from mmwhitebox.models.selfsup import SimDINO

TINY = dict(embed_dims=16, num_heads=2, num_layers=2)
CRATE = dict(WhiteBoxTransformer.arch_zoo['crate-base'], **TINY)
CBT = dict(WhiteBoxTransformer.arch_zoo['cbt-base'], **TINY)
TOST = dict(WhiteBoxTransformer.arch_zoo['tost-tiny'], **TINY)
TIMM = dict(type='mmwhitebox.TimmViT', model_name='vit_tiny_patch16_224', img_size=32,
            model_kwargs=dict(embed_dim=16, depth=2, num_heads=2, patch_size=8))
NECK = dict(hidden_channels=24, out_channels=12)


@pytest.fixture(autouse=True)
def hub():
    """A training of 10 iterations, at the first."""
    hub = MessageHub.get_instance('simdino')
    hub.update_info_dict(dict(iter=0, max_iters=10))
    yield hub
    del MessageHub._instance_dict['simdino']


def encoder(arch=CRATE, **options):
    return {'type': 'mmwhitebox.WhiteBoxTransformer', 'arch': arch, 'img_size': 32, 'patch_size': 8, **options}


def build(backbone=None, **options):
    torch.manual_seed(0)
    init_default_scope('mmpretrain')
    model = MODELS.build({'type': 'mmwhitebox.SimDINO', 'backbone': backbone or encoder(), 'neck': NECK, **options})
    model.init_weights()
    return model.train()


def crops(batch=3, num_local=2, channels=3, dtype=torch.float32):
    return [torch.randn(batch, channels, size, size, dtype=dtype) for size in [32] * 2 + [16] * num_local]


def move(model):
    """A step of the student, of any kind."""
    with torch.no_grad():
        for parameter in model.student.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))


@pytest.mark.parametrize('backbone', [
    encoder(), encoder(CBT, out_type='avg_featmap', with_cls_token=False), encoder(CBT), encoder(TOST),
    encoder(out_type='featmap', out_indices=(0, -1)), TIMM, dict(TIMM, out_type='cls_token')],
    ids=['crate', 'pooled', 'cbt', 'tost', 'maps', 'timm-maps', 'timm'])
def test_a_step_reaches_the_student_of_any_encoder_and_not_the_teacher(backbone):
    model = build(backbone)
    losses = model.loss(crops())
    losses['loss'].backward()
    assert set(losses) == {'loss', 'compression', 'expansion'} and losses['loss'].isfinite()
    unused = {name for name, p in model.student.named_parameters() if p.grad is None}
    assert unused - {'backbone.vit.cls_token', 'backbone.cls_token'} == set()
    assert not any(p.requires_grad or p.grad is not None for p in model.teacher.parameters())
    assert image_features(model, model.extract_feat(crops()[0])).shape == (3, 16)


@pytest.mark.parametrize('num_local', [0, 3])
def test_the_loss_by_loops_over_the_crops(num_local):
    model, views = build(head=dict(coeff=0.7, eps=0.3)).double(), crops(num_local=num_local, dtype=torch.double)
    model.loss(views)
    move(model)  # now the teacher is another model
    follower = copy.deepcopy(model.teacher.module)
    out = model.loss(views)
    for old, student, new in zip(follower.parameters(), model.student.parameters(), model.teacher.parameters()):
        torch.testing.assert_close(new, 0.996 * old + 0.004 * student)
    with torch.no_grad():
        s = [F.normalize(model.student(view)) for view in views]  # one by one
        t = [F.normalize(model.teacher(view)) for view in views[:2]]
        pairs = [(t[i] * s[j]).sum(1).mean() for i in range(2) for j in range(len(views)) if i != j]
        rates = [torch.logdet(torch.eye(12) + 12 / (3 * 0.3) * z.T @ z) / 2 for z in s[:2]]
    expansion = (12 + 3) / (12 * 3) * sum(rates) / 2
    torch.testing.assert_close(out['compression'], sum(pairs) / len(pairs))
    torch.testing.assert_close(out['expansion'], expansion)
    torch.testing.assert_close(out['loss'].detach(), -0.7 * sum(pairs) / len(pairs) - expansion)


def test_positions_of_small_crops_have_right_gradients():
    positions = LearnedPositions(4, (4, 4)).double()

    def small(table):
        return torch.func.functional_call(positions, dict(table=table), ((2, 2), ))

    assert torch.autograd.gradcheck(small, positions.table)
    model = build()
    model.neck(model.backbone(crops()[2])).sum().backward()
    assert model.backbone.pos_embed.table.grad.abs().sum(-1).min() > 0  # of every place


def test_the_teacher_follows_along_the_cosine(hub):
    model, views = build(momentum=0.9), crops()
    expected = copy.deepcopy(model.student)
    for iteration in range(10):
        hub.update_info('iter', iteration)
        model.loss(views)
        mu = 1 - 0.1 * (1 + math.cos(math.pi * iteration / 10)) / 2
        for mine, student in zip(expected.parameters(), model.student.parameters()):
            mine.data = mu * mine.data + (1 - mu) * student.data
        for mine, teacher in zip(expected.parameters(), model.teacher.parameters()):
            torch.testing.assert_close(teacher, mine.data)
        move(model)
    assert model.teacher.steps == 10


def test_with_accumulated_gradients_it_follows_once_a_step(hub):
    model, views = build(update_interval=3), crops()
    moved = []
    for iteration in range(7):
        hub.update_info('iter', iteration)
        before = [p.clone() for p in model.teacher.parameters()]
        model.loss(views)
        moved.append(any(not torch.equal(old, new) for old, new in zip(before, model.teacher.parameters())))
        move(model)
    assert moved == [False, False, False, True, False, False, True]  # at first it is the student


def test_the_teacher_of_another_training_is_where_this_one_starts(hub):
    model, other, views = build(), build(), crops()
    for _ in range(3):
        model.loss(views)
        move(model)
    other.load_state_dict(model.state_dict())
    before = copy.deepcopy(other.teacher.module)
    hub.update_info_dict(dict(iter=0, max_iters=1000))
    other.loss(views)
    for old, student, new in zip(before.parameters(), model.student.parameters(), other.teacher.parameters()):
        torch.testing.assert_close(new, 0.996 * old + 0.004 * student)


def test_the_teacher_has_no_dropout_and_its_own_batch_norm():
    model, views = build(encoder(CBT, drop_path_rate=0.5)), crops(16)
    first, second = (model.teacher(views[0]) for _ in range(2))
    assert torch.equal(first, second)
    first, second = (model.student(views[0]) for _ in range(2))
    assert not torch.equal(first, second)
    frozen = build(encoder(CBT, frozen_stages=0))
    assert not any(m.training for m in frozen.teacher.modules())
    model.loss(views)
    move(model)
    own = model.teacher.module.backbone.stem.stages[0]
    before = own[1].running_mean.clone()
    model.loss(views)
    expected = 0.9 * before + 0.1 * own[0](torch.cat(views[:2])).mean((0, 2, 3))
    torch.testing.assert_close(own[1].running_mean, expected)
    assert not torch.equal(own[1].running_mean, model.backbone.stem.stages[0][1].running_mean)
    assert not any(m.training for m in model.eval().modules())


def test_before_the_first_step_the_teacher_is_the_student():
    model = build(encoder(CBT))
    for name, value in model.student.state_dict().items():
        assert torch.equal(model.teacher.module.state_dict()[name], value), name
    view = crops()[0]
    assert torch.equal(model.eval().extract_feat(view)[-1], model.backbone(view)[-1])
    assert logits(model, view).shape == (3, 12)


@pytest.mark.parametrize('arch', [CRATE, CBT], ids=['crate', 'cbt'])
@pytest.mark.parametrize('views', [
    [torch.zeros(4, 3, s, s) for s in (32, 32, 16)], [torch.ones(4, 3, s, s) for s in (32, 32, 16)],
    [torch.randn(1, 3, s, s) for s in (32, 32, 16)], [torch.full((2, 3, s, s), 1e4) for s in (32, 32, 16)],
], ids=['zeros', 'equal', 'one', 'large'])
def test_degenerate_images_have_finite_gradients_in_bfloat16(arch, views):
    model = build(encoder(arch))
    optimizer = torch.optim.AdamW(model.student.parameters(), lr=1e-3)
    for _ in range(2):
        with torch.autocast('cpu', torch.bfloat16):
            loss = model.loss(views)['loss']
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        assert loss.dtype == torch.float32 and loss.isfinite()
        assert all(p.grad.isfinite().all() for p in model.student.parameters())
    assert all(p.isfinite().all() for p in model.parameters())


def test_collapsed_features_have_finite_gradients_in_bfloat16():
    """All weights of the head zero but the last bias: every row is the same."""
    model = build()
    with torch.no_grad():
        for parameter in model.neck.parameters():
            parameter.zero_()
        model.neck.mlp[6].bias[0] = 1
    with torch.autocast('cpu', torch.bfloat16):
        losses = model.loss(crops())
    losses['loss'].backward()
    assert losses['compression'] == pytest.approx(1) and losses['loss'].isfinite()
    assert all(p.grad.isfinite().all() for p in model.student.parameters())


def test_a_step_with_accumulation_and_autocast():
    """Two batches and one update; the teacher has no group in the optimizer, and no line in the log."""
    model = build(update_interval=2)
    wrapper = build_optim_wrapper(model, dict(
        type='mmwhitebox.BFloat16OptimWrapper', constructor='mmwhitebox.TrainedOptimWrapperConstructor',
        optimizer=dict(type='AdamW', lr=1e-3, weight_decay=0.04), accumulative_counts=2, clip_grad=dict(max_norm=3.),
        paramwise_cfg=dict(flat_decay_mult=0.)))
    wrapper.initialize_count_status(model, 0, 10)
    start = [p.clone() for p in model.student.parameters()]
    changed = []
    for _ in range(2):
        data = dict(inputs=crops(), data_samples=[])
        assert model.train_step(data, wrapper)['loss'].isfinite()
        changed.append(any(not torch.equal(a, b) for a, b in zip(start, model.student.parameters())))
    assert changed == [False, True]
    optimized = {id(p) for group in wrapper.optimizer.param_groups for p in group['params']}
    assert optimized == {id(p) for p in model.student.parameters()}



@pytest.mark.parametrize('options, message', [
    (dict(momentum=1), 'model.momentum=1 is what the teacher keeps of itself, between 0 and 1'),
    (dict(momentum='0.9'), "model.momentum='0.9'"),
    (dict(backbone=encoder(out_type='raw')),
     "model.backbone.out_type='raw': SimDINO compares one feature of each crop"),
    (dict(neck=dict(in_channels=8)), 'model.neck.in_channels=8, but model.backbone has features of 16: leave it out'),
    (dict(backbone=dict(type='mmpretrain.ResNet', depth=18)),
     r'model.backbone \(ResNet\) does not tell the width of its features: set model.neck.in_channels'),
])
def test_parts_that_do_not_fit_are_refused_in_one_line(options, message):
    with pytest.raises(ConfigError, match=message) as error:
        build(**options)
    assert '\n' not in str(error.value)


@pytest.mark.parametrize('neck', [dict(hidden_channels=0), dict(num_layers=0), dict(out_channels=2.5)])
def test_sizes_of_the_head_are_positive_integers(neck):
    with pytest.raises(ValueError, match='SimDINONeck: .* must be a positive integer'):
        build(neck=neck)


@pytest.mark.parametrize('inputs, message', [
    (torch.zeros(2, 3, 32, 32), 'two at least, and the training pipeline gives 1: put its steps into MultiView'),
    (crops()[:1], 'two at least, and the training pipeline gives 1'),
    (crops()[1:], 'The first two views of SimDINO are global and of one size, the training pipeline gives 32x32 '
                  'and 16x16'),
])
def test_views_that_are_none_are_refused_in_one_line(inputs, message):
    with pytest.raises(ConfigError, match=message) as error:
        build().loss(inputs)
    assert '\n' not in str(error.value)


def test_features_of_another_shape_are_refused_in_one_line():
    model = build(dict(type='mmpretrain.ResNet', depth=18), neck=dict(NECK, in_channels=99))
    with pytest.raises(ConfigError, match=r'model.backbone gives features of shape \(6, 512, 1, 1\)') as error:
        model.loss(crops())
    assert '\n' not in str(error.value)
    model = build(dict(type='mmpretrain.ResNet', depth=18), neck=dict(NECK, in_channels=512))
    assert model.loss(crops())['loss'].isfinite()


def test_it_asks_for_the_running_training_and_predicts_nothing(hub):
    with pytest.raises(UserError, match='SimDINO has learned no classes'):
        build()(torch.zeros(1, 3, 32, 32), mode='predict')
    hub._runtime_info.clear()
    with pytest.raises(UserError, match='SimDINO takes the place on its cosine from the running training'):
        build().loss(crops())


@pytest.mark.parametrize('backbone', [encoder(CBT), TIMM], ids=['cbt', 'timm'])
@pytest.mark.parametrize('model', [
    dict(type='ImageClassifier', head=dict(type='LinearClsHead', num_classes=3, in_channels=16)),
    dict(type='mmseg.EncoderDecoder', test_cfg=dict(mode='whole'), decode_head=dict(
        type='mmwhitebox.WhiteBoxMaskHead', in_channels=16, channels=16, num_classes=3, num_layers=1,
        attention=dict(type='MSSA', num_heads=2))),
], ids=['classifier', 'segmentor'])
def test_the_teacher_goes_on_in_other_models(tmp_path, backbone, model):
    """By ``init_cfg`` of the backbone, at another image size too."""
    backbone = dict(backbone, out_type='cls_token')
    learned, views = build(backbone), crops()
    for _ in range(2):
        learned.loss(views)
        move(learned)
    torch.save(dict(state_dict=learned.state_dict(), meta={}), tmp_path / 'epoch_1.pth')
    segments = 'decode_head' in model
    init_default_scope('mmseg' if segments else 'mmpretrain')
    for size in (32, 48):
        other = MODELS.build(dict(model, backbone=dict(
            backbone, out_type='featmap' if segments else 'cls_token', img_size=size, init_cfg=dict(
                type='Pretrained', checkpoint=str(tmp_path / 'epoch_1.pth'), prefix='teacher.module.backbone'))))
        other.init_weights()
        taken = other.backbone.state_dict()
        for name, value in learned.teacher.module.backbone.state_dict().items():
            if 'pos_embed' not in name or size == 32:
                assert torch.equal(taken[name], value), name
    assert not torch.equal(taken['norm.weight' if 'norm.weight' in taken else 'vit.norm.weight'],
                           learned.backbone.state_dict().get('norm.weight', learned.backbone.state_dict().get(
                               'vit.norm.weight')))


def gratings(number, size):
    """Noisy gratings of four directions of random places and colours, (number, 3, size, size); the directions."""
    kinds = torch.arange(number) % 4
    angle = kinds[:, None, None] * (math.pi / 4)
    rows, columns = torch.meshgrid(torch.arange(float(size)), torch.arange(float(size)), indexing='ij')
    waves = torch.sin((columns * angle.cos() + rows * angle.sin()) * 1.2 + 2 * math.pi * torch.rand(number, 1, 1))
    return waves[:, None] * torch.randn(number, 3, 1, 1) + 0.5 * torch.randn(number, 3, size, size), kinds


def neighbours_agree(model):
    """Top-1 by k-NN of directions, in percent."""
    torch.manual_seed(1)
    (bank, labels), (images, truth) = gratings(200, 32), gratings(200, 32)
    with torch.no_grad():
        known, found = (image_features(model, model.eval().extract_feat(x)) for x in (bank, images))
    return (knn_scores(found, known, labels, 4).argmax(1) == truth).float().mean().item() * 100


def test_neighbours_are_of_one_kind_after_training_without_labels(hub):
    """Crops share the direction alone: place, colour and noise are new in each."""
    iterations = 60
    model = build(momentum=0.9)
    before, losses = neighbours_agree(model), []
    optimizer = torch.optim.AdamW(model.student.parameters(), lr=3e-3)
    for iteration in range(iterations):
        hub.update_info_dict(dict(iter=iteration, max_iters=iterations))
        torch.manual_seed(10 + iteration)
        loss = model.train().loss([gratings(32, size)[0] for size in (32, 32, 16, 16)])['loss']
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    after = neighbours_agree(model)
    assert sum(losses[-5:]) / 5 < sum(losses[:5]) / 5 - 0.2
    assert after > before + 10


def test_what_is_looked_at_is_the_teacher():
    model = build()
    move(model)
    before = {key: value.clone() for key, value in model.teacher.module.state_dict().items()}
    images = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        expected = model.eval().teacher.module(images)
        assert not torch.equal(logits(model, images), expected)
        adopt_teacher(model)
        assert torch.equal(logits(model, images), expected)
    assert all(torch.equal(value, before[key]) for key, value in model.teacher.module.state_dict().items())
    layers = attention_layers(model)
    assert layers and all(name.startswith('backbone.') for name in layers)
    assert list(attention_projections(model)) == list(layers)


def test_the_preprocessor_gets_one_view():
    model, image = build(), torch.randn(3, 32, 32)
    assert preprocessed(model, [image, image], [None, None])['inputs'].shape == (2, 3, 32, 32)


@pytest.mark.parametrize('options, said', [
    (dict(coeff=-1), 'coeff=-1: the weight'), (dict(eps=0), 'eps=0: the precision'), (dict(eps=None), 'eps=None'),
    (dict(eps=-0.05), 'eps=-0.05'), (dict(coeff='x'), "coeff='x'")])
def test_a_loss_that_cannot_be_is_refused(options, said):
    with pytest.raises(ConfigError, match=said):
        SimDINOLoss(**options)


def test_the_class_is_public():
    assert MODELS.get('mmwhitebox.SimDINO') is SimDINO
