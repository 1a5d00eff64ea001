"""WhiteBoxTransformer: every arch as a classification and a segmentation backbone, options, bad input."""
import math
import re

import pytest
import torch
from mmengine.optim import build_optim_wrapper
from mmengine.registry import init_default_scope
from mmpretrain.registry import MODELS
from mmpretrain.structures import DataSample
from torch import nn

from mmwhitebox.models.attention import CBSA, DMSA, MSSA, TSSA
from mmwhitebox.models.backbones import WhiteBoxTransformer
from mmwhitebox.models.feedforward import ISTA, MLP, ODL

ARCHS = sorted(WhiteBoxTransformer.arch_zoo)
# one of each family, the rest differ in size only
FAMILIES = ['cbt-tiny', 'crate-tiny', 'crate-alpha-base', 'crate-cbt-tiny', 'tost-tiny', 'dmst-tiny', 'vit-tiny']
LATE_CLASS_TOKEN = ('tost', 'dmst')
D, SIZE = 32, 64


def settings(arch, num_layers=2):
    """The arch, narrow and shallow."""
    small = dict(WhiteBoxTransformer.arch_zoo[arch], embed_dims=D, num_heads=2, num_layers=num_layers)
    if arch.startswith('crate-cbt'):
        small['attention'] = [dict(type='MSSA'), dict(type='CBSA')] * (num_layers // 2)
    return small


def build(arch='cbt-tiny', num_layers=2, img_size=SIZE, **kwargs):
    return WhiteBoxTransformer(settings(arch, num_layers), img_size=img_size, **kwargs)


@pytest.fixture
def images():
    return torch.randn(2, 3, SIZE, SIZE)


# Every arch

# parameters in millions, with final norm and a 1000-way Linear
PARAMETERS = {
    'cbt-tiny': 1.79, 'cbt-small': 6.67, 'cbt-base': 25.69, 'cbt-large': 83.05, 'crate-tiny': 6.09,
    'crate-small': 13.12, 'crate-base': 22.80, 'crate-large': 77.64, 'crate-cbt-tiny': 1.79,
    'crate-alpha-base': 72.33, 'crate-alpha-large': 253.77, 'crate-alpha-huge': 526.97,
    'crate-cbt-small': 6.67, 'tost-tiny': 5.77, 'tost-small': 22.59, 'tost-medium': 71.48,
    'tost-tiny-24': 10.22, 'tost-small-24': 40.34, 'tost-large': 160.29,
    'dmst-tiny': 5.78, 'dmst-small': 22.63, 'vit-tiny': 5.72, 'vit-small': 22.05}
# published without the head
HEADLESS = {'tost-tiny': 5.57, 'tost-small': 22.20, 'dmst-tiny': 5.585, 'dmst-small': 22.242}


@pytest.mark.parametrize('arch', [arch for arch in ARCHS if not arch.startswith('crate-mae')])
def test_parameters_at_full_size(arch):
    with torch.device('meta'):
        model = WhiteBoxTransformer(arch)
    backbone = sum(p.numel() for p in model.parameters())
    assert round((backbone + 1000 * model.embed_dims + 1000) / 1e6, 2) == PARAMETERS[arch]
    assert backbone / 1e6 == pytest.approx(HEADLESS.get(arch, backbone / 1e6), abs=0.007)
    if arch in ('dmst-tiny', 'dmst-small'):
        assert round(backbone / 1e6, 3) == HEADLESS[arch]


@pytest.mark.parametrize('arch', [*FAMILIES, 'crate-mae-tiny'])
def test_class_tokens_and_feature_maps_at_full_size(arch):
    with torch.device('meta'):
        model = WhiteBoxTransformer(arch)
        assert model(torch.empty(1, 3, 224, 224))[0].shape == (1, model.embed_dims)
        model = WhiteBoxTransformer(arch, out_type='featmap', out_indices=(0, 5, -1))
        for height, width in ((224, 224), (160, 288)):
            maps = model(torch.empty(1, 3, height, width))
            assert [m.shape for m in maps] == [(1, model.embed_dims, height // 16, width // 16)] * 3


@pytest.mark.parametrize('arch', FAMILIES)
def test_feature_maps_follow_the_image(arch):
    """A local change of the image changes the map most at its place, in both orientations."""
    model = build(arch, num_layers=2, img_size=(96, 96), out_type='featmap').eval()
    for height, width, row, column in ((96, 160, 1, 8), (160, 96, 8, 1)):
        image = torch.randn(1, 3, height, width)
        changed = image.clone()
        changed[..., 16 * row:16 * row + 16, 16 * column:16 * column + 16] += 3 * torch.randn(16, 16)
        with torch.no_grad():
            difference = (model(changed)[0] - model(image)[0]).norm(dim=1)[0]
        assert difference.shape == (height // 16, width // 16)
        h, w = divmod(difference.argmax().item(), difference.shape[1])
        assert abs(h - row) <= 1 and abs(w - column) <= 1


@pytest.mark.parametrize('arch', FAMILIES)
def test_backward_reaches_every_parameter(arch, images):
    model = build(arch)
    if arch.startswith(LATE_CLASS_TOKEN):
        nn.init.normal_(model.cls_token)
    model(images)[0].square().sum().backward()
    unreached = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert not unreached


@pytest.mark.parametrize('arch', FAMILIES)
@pytest.mark.parametrize('out_type', ['cls_token', 'featmap'])
def test_no_parameter_is_left_out_of_the_graph(arch, out_type, images):
    """Distributed training fails on parameters without gradient."""
    model = build(arch, out_type=out_type)
    model(images)[0].sum().backward()
    assert all(p.grad is not None for p in model.parameters())


def classifier(arch='cbt-tiny', **kwargs):
    init_default_scope('mmpretrain')
    model = MODELS.build(dict(
        type='ImageClassifier',
        backbone=dict(type='mmwhitebox.WhiteBoxTransformer', arch=settings(arch), img_size=SIZE, **kwargs),
        head=dict(type='LinearClsHead', num_classes=3, in_channels=D)))
    model.init_weights()
    return model


@pytest.mark.parametrize('arch', FAMILIES)
def test_training_step_under_bf16_autocast(arch, images):
    model = classifier(arch, drop_path_rate=0.1)
    optim_wrapper = build_optim_wrapper(model, dict(
        optimizer=dict(type='AdamW', lr=3e-3, weight_decay=0.05),
        paramwise_cfg=dict(custom_keys=WhiteBoxTransformer.no_weight_decay)))
    samples = [DataSample().set_gt_label(label) for label in (0, 2)]
    before = {name: p.clone() for name, p in model.named_parameters()}
    losses = []
    for _ in range(8):
        with torch.autocast('cpu', torch.bfloat16):
            loss = model(images, samples, mode='loss')['loss']
        optim_wrapper.update_params(loss)
        losses.append(loss.item())
    assert math.isfinite(losses[-1]) and losses[-1] < losses[0]
    assert all(p.dtype == torch.float32 for p in model.parameters())
    assert [name for name, p in model.named_parameters() if torch.equal(p, before[name])] == []


@pytest.mark.parametrize('arch', FAMILIES)
def test_bf16_autocast_is_near_float32(arch, images):
    model = build(arch).eval()
    with torch.no_grad():
        expected = model(images)[0]
        with torch.autocast('cpu', torch.bfloat16):
            out = model(images)[0]
    assert ((out.float() - expected).norm() / expected.norm()) < 0.05


@pytest.mark.parametrize('arch', FAMILIES)
def test_state_dict_round_trip(arch, images, tmp_path):
    first, second = build(arch), build(arch)
    first(images)  # moves the running statistics of the stem
    torch.save(first.state_dict(), tmp_path / 'weights.pth')
    second.load_state_dict(torch.load(tmp_path / 'weights.pth', weights_only=True))
    first.eval(), second.eval()
    assert torch.equal(first(images)[0], second(images)[0])


@pytest.mark.parametrize('arch', [arch for arch in FAMILIES if arch != 'crate-cbt-tiny'])
def test_export(arch, images):
    model = build(arch, num_layers=1).eval()
    exported = torch.export.export(model, (images, ))
    torch.testing.assert_close(exported.module()(images)[0], model(images)[0])


@pytest.mark.parametrize('arch', [arch for arch in FAMILIES if arch != 'crate-cbt-tiny'])  # layers of two of them
def test_compile_without_graph_break(arch, images):
    torch._dynamo.reset()
    model = build(arch, num_layers=1, out_type='featmap')
    compiled = torch.compile(model, fullgraph=True, backend='aot_eager')
    expected, out = model(images)[0], compiled(images)[0]
    torch.testing.assert_close(out, expected, rtol=1e-4, atol=1e-4)
    out.square().sum().backward()
    assert all(p.grad is not None for p in model.parameters())


# Structure

def test_crate_and_cbt_layers_replace_the_tokens(images):
    layer = build('cbt-tiny').layers[0]
    x = torch.randn(2, 17, D)
    y = x + layer.attn(layer.norm1(x), (4, 4))
    torch.testing.assert_close(layer(x, (4, 4)), layer.ffn(layer.norm2(y)))
    assert isinstance(layer.ffn, ISTA) and (layer(x, (4, 4)) >= 0).all()


@pytest.mark.parametrize('arch, eta', [('tost-tiny', 1.), ('dmst-tiny', 1.), ('tost-medium', 1e-5)])
def test_tost_layers_scale_both_updates(arch, eta):
    layer = build(arch).layers[0]
    assert (layer.scale1.gamma == eta).all() and (layer.scale2.gamma == eta).all()
    nn.init.normal_(layer.scale1.gamma), nn.init.normal_(layer.scale2.gamma)
    x = torch.randn(2, 16, D)
    y = x + layer.scale1.gamma * layer.attn(layer.norm1(x), (4, 4))
    y = y + layer.scale2.gamma * layer.ffn(layer.norm2(y))
    torch.testing.assert_close(layer(x, (4, 4)), y)
    assert isinstance(layer.ffn, MLP)


@pytest.mark.parametrize('arch, attention', [('cbt-base', [CBSA] * 12), ('crate-base', [MSSA] * 12),
                                             ('crate-cbt-small', [MSSA] * 6 + [CBSA] * 6),
                                             ('tost-small', [TSSA] * 12), ('dmst-small', [DMSA] * 12)])
def test_attention_of_the_archs(arch, attention):
    with torch.device('meta'):
        model = WhiteBoxTransformer(arch)
    assert [type(layer.attn) for layer in model.layers] == attention


def test_attention_and_feedforward_are_swapped_in_one_line(images):
    model = build(attention=dict(type='TSSA'), feedforward=dict(type='MLP', ratio=2))
    assert all(isinstance(layer.attn, TSSA) and layer.ffn.fc1.out_features == 2 * D for layer in model.layers)
    hybrid = build(attention=[dict(type='mmwhitebox.MSSA'), dict(type='DMSA', num_heads=4)],
                   feedforward=[dict(type='MLP'), dict(type='ISTA', lam=0.5)])
    assert [type(layer.attn) for layer in hybrid.layers] == [MSSA, DMSA]
    assert hybrid.layers[1].attn.num_heads == 4 and hybrid.layers[1].ffn.lam == 0.5
    assert model(images)[0].shape == hybrid(images)[0].shape == (2, D)


@pytest.mark.parametrize('arch', FAMILIES)
def test_attention_only_is_one_line(arch, images):
    """X <- X + Attention(LayerNorm(X)) and nothing else; LayerScale stays on the attention."""
    model = build(arch, feedforward=None, layer_scale_init_value=0.5, out_type='raw', with_cp=True)
    x, tokens = torch.randn(1, 16, D), model.layers[0]
    expected = x + 0.5 * tokens.attn(tokens.norm1(x), (4, 4))
    torch.testing.assert_close(tokens(x, (4, 4)), expected)
    assert not [key for key in model.state_dict() if key.startswith('layers') and ('ffn' in key or 'norm2' in key
                                                                                   or 'scale2' in key)]
    model(images)[0].sum().backward()
    assert all(p.grad is not None for p in model.parameters())


def test_attention_only_layers_among_others(images):
    model = build(feedforward=[None, dict(type='ISTA')])
    assert model.layers[0].ffn is None and isinstance(model.layers[1].ffn, ISTA)
    from_arch = WhiteBoxTransformer(dict(settings('cbt-tiny'), feedforward=None), img_size=SIZE)
    assert [layer.ffn for layer in from_arch.layers] == [None, None] and from_arch(images)[0].shape == (2, D)
    assert isinstance(build(feedforward='arch').layers[0].ffn, ISTA)


def test_a_layer_of_crate_alpha():
    model = build('crate-alpha-base')
    layer, x = model.layers[0], torch.randn(1, 17, D)
    y = x + layer.attn(layer.norm1(x), (4, 4))
    torch.testing.assert_close(layer(x, (4, 4)), y + layer.ffn(layer.norm2(y)))
    assert isinstance(layer.ffn, ODL) and layer.attn.to_out.bias is None
    assert (layer.norm1.eps, layer.norm2.eps, model.norm.eps) == (1e-6, 1e-6, 1e-5)
    assert build('crate-alpha-base', final_norm=dict(type='LN', eps=1e-6)).norm.eps == 1e-6
    scaled = build('crate-alpha-base', layer_scale_init_value=0.1, drop_path_rate=0.5)
    assert scaled.layers[1].scale2.gamma.shape == (D, ) and scaled.layers[1].drop_path.drop_prob == 0.5


def test_crate_alpha_starts_as_published():
    """Linear layers and positions of deviation 0.02, the stem kaiming-uniform, no bias, dictionaries untouched."""
    model = build('crate-alpha-base', img_size=512)
    dictionary = model.layers[0].ffn.dictionary.detach().clone()
    model.init_weights()
    weight, stem = model.layers[0].attn.proj.weight.detach(), model.stem.proj
    assert weight.std().item() == pytest.approx(0.02, rel=0.08)
    assert model.pos_embed.table.detach().std().item() == pytest.approx(0.02, rel=0.03)
    assert stem.weight.detach().abs().max().item() == pytest.approx((6 / 768)**0.5, rel=0.01) and not stem.bias.any()
    assert torch.equal(model.layers[0].ffn.dictionary, dictionary)


@pytest.mark.parametrize('stem', ['ConvStem', 'LinearStem', 'PatchConv'])
@pytest.mark.parametrize('position', ['LearnedPositions', 'FourierPositions'])
@pytest.mark.parametrize('patch_size', [16, 8])
def test_stems_and_positions_by_config(stem, position, patch_size, images):
    model = build(stem=dict(type=stem), position=dict(type=position), patch_size=patch_size,
                  out_type='raw', in_channels=3)
    assert model(images)[0].shape == (2, 1 + (SIZE // patch_size)**2, D)


def test_conv_stem_widths():
    widths = [[stage[0].out_channels for stage in build(patch_size=p).stem.stages] for p in (16, 8)]
    assert widths == [[D // 8, D // 4, D // 2, D], [D // 4, D // 2, D]]
    assert all(type(stage[1]) is nn.BatchNorm2d for stage in build().stem.stages)


def test_vit_is_timm_s():
    import timm
    theirs = timm.create_model('vit_tiny_patch16_224', img_size=SIZE, embed_dim=D, depth=2, num_heads=2,
                               num_classes=0).eval()
    ours = build('vit-tiny').eval()
    renamed = {}
    for name, value in theirs.state_dict().items():
        for old, new in (('blocks.', 'layers.'), ('attn.proj', 'attn.to_out'), ('mlp.', 'ffn.'),
                         ('patch_embed.', 'stem.')):
            name = name.replace(old, new)
        renamed['pos_embed.table' if name == 'pos_embed' else name] = value
    ours.load_state_dict(renamed)
    images = torch.randn(2, 3, SIZE, SIZE)
    torch.testing.assert_close(ours(images)[0], theirs(images), rtol=1e-4, atol=1e-5)


# Output

@pytest.mark.parametrize('arch', ['cbt-tiny', 'tost-tiny'])
def test_output_types_agree(arch, images):
    models = {}
    for out_type in WhiteBoxTransformer.OUT_TYPES:
        models[out_type] = build(arch, out_type=out_type).eval()
        models[out_type].load_state_dict(models['raw'].state_dict())
    out = {out_type: model(images)[0] for out_type, model in models.items()}
    assert out['raw'].shape == (2, 17, D) and out['featmap'].shape == (2, D, 4, 4)
    torch.testing.assert_close(out['cls_token'], out['raw'][:, 0])
    torch.testing.assert_close(out['avg_featmap'], out['featmap'].mean((2, 3)))
    if arch == 'cbt-tiny':
        torch.testing.assert_close(out['featmap'].flatten(2).mT, out['raw'][:, 1:])


def test_out_indices_and_final_norm(images):
    model = build(num_layers=4, out_indices=(-1, 1, 0), out_type='featmap').eval()
    maps = model(images)
    assert model.out_indices == [0, 1, 3] and len(maps) == 3
    early = build(num_layers=4, out_indices=[0, 1], out_type='featmap').eval()
    early.load_state_dict(model.state_dict())  # what is not built is left out
    for a, b in zip(early(images), maps):
        torch.testing.assert_close(a, b)
    assert len(early.layers) == 2
    plain = build(num_layers=4, final_norm=False, out_type='featmap').eval()
    plain.load_state_dict({k: v for k, v in model.state_dict().items() if not k.startswith('norm.')})
    torch.testing.assert_close(model.norm(plain(images)[0].permute(0, 2, 3, 1)), maps[2].permute(0, 2, 3, 1))


@pytest.mark.parametrize('arch', FAMILIES)
@pytest.mark.parametrize('size', [(70, 90), (16, 16), (17, 130)])
def test_any_image_size(arch, size):
    model = build(arch, out_type='featmap').eval()
    assert model(torch.randn(1, 3, *size))[0].shape == (1, D, -(-size[0] // 16), -(-size[1] // 16))


@pytest.mark.parametrize('arch', ['crate-tiny', 'vit-tiny'])
def test_padding_is_zeros_at_the_right_and_the_bottom(arch):
    model = build(arch, out_type='featmap').eval()
    image = torch.randn(1, 3, 70, 90)
    padded = torch.zeros(1, 3, 80, 96)
    padded[..., :70, :90] = image
    torch.testing.assert_close(model(image)[0], model(padded)[0])


def test_linear_stem_flattens_row_column_channel():
    stem = build('crate-tiny').stem
    stem.norm1, stem.proj, stem.norm2 = nn.Identity(), nn.Identity(), nn.Identity()
    image = torch.randn(2, 3, 32, 48)
    tokens, grid = stem(image)
    assert grid == (2, 3)
    torch.testing.assert_close(tokens[1, 5], image[1, :, 16:, 32:].permute(1, 2, 0).flatten())


@pytest.mark.parametrize('mode', ['bicubic', 'bilinear'])
def test_positions_are_interpolated(mode):
    positions = build(interpolate_mode=mode).pos_embed
    assert torch.equal(positions((4, 4)), positions.table)
    grid = positions.table[:, 1:].unflatten(1, (4, 4)).permute(0, 3, 1, 2)
    expected = nn.functional.interpolate(grid, (3, 7), mode=mode).flatten(2).mT
    torch.testing.assert_close(positions((3, 7)), torch.cat([positions.table[:, :1], expected], 1))


def test_positions_by_the_rules_of_the_published_code():
    """'dino' by a scale factor, of images and of weights; 'bilinear' leaves the same count as it is."""
    positions = build(interpolate_mode='dino').pos_embed
    grid = positions.table[:, 1:].unflatten(1, (4, 4)).permute(0, 3, 1, 2)
    expected = nn.functional.interpolate(grid, scale_factor=(2.1 / 4, 8.1 / 4), mode='bicubic').flatten(2).mT
    torch.testing.assert_close(positions((2, 8)), torch.cat([positions.table[:, :1], expected], 1))
    larger = build(interpolate_mode='dino', img_size=96)
    larger.load_state_dict(dict(larger.state_dict(), **{'pos_embed.table': positions.table}))
    expected = nn.functional.interpolate(grid, scale_factor=6.1 / 4, mode='bicubic').flatten(2).mT
    torch.testing.assert_close(larger.pos_embed.table[:, 1:], expected)
    by_count = build(interpolate_mode='bilinear').pos_embed
    assert torch.equal(by_count((2, 8)), by_count.table)


# Training

def test_checkpointing_gives_the_same_gradients(images):
    plain, recomputing = build('dmst-tiny'), build('dmst-tiny', with_cp=True)
    recomputing.load_state_dict(plain.state_dict())
    calls = []
    for layer in (recomputing.layers[0], recomputing.class_layers[0]):
        layer.register_forward_pre_hook(lambda *args: calls.append(1))
    for model in (plain, recomputing):
        model(images)[0].square().sum().backward()
    assert len(calls) == 4
    for a, b in zip(plain.parameters(), recomputing.parameters()):
        torch.testing.assert_close(a.grad, b.grad)


@pytest.mark.parametrize('arch', ['cbt-tiny', 'tost-tiny'])
def test_frozen_stages(arch, images):
    model = build(arch, frozen_stages=1)
    model.train()
    statistics = {k: v.clone() for k, v in model.stem.state_dict().items()}
    model(images)[0].square().sum().backward()
    trained = {re.match(r'layers\.\d+|\w+', name)[0]
               for name, p in model.named_parameters() if p.grad is not None}
    assert trained == {'layers.1', 'norm'} | ({'cls_token', 'class_layers'} if arch == 'tost-tiny' else set())
    assert all(torch.equal(v, statistics[k]) for k, v in model.stem.state_dict().items())
    assert not model.layers[0].training and model.layers[1].training
    assert all(p.requires_grad for p in build(arch).parameters())


def test_drop_path_rises_to_its_rate():
    model = build('tost-tiny', num_layers=4, drop_path_rate=0.3)
    rates = [getattr(layer.drop_path, 'drop_prob', 0) for layer in model.layers]
    assert rates == pytest.approx([0, 0.1, 0.2, 0.3])
    last = model.layers[-1].train()
    x = torch.randn(200, 4, D)
    skipped = (last(x, (2, 2)) == x).flatten(1).all(1).float().mean()
    assert 0.02 < skipped < 0.2  # both updates: 0.09
    assert not (last.eval()(x, (2, 2)) == x).flatten(1).all(1).any()


def test_no_weight_decay():
    model = build('vit-tiny', attention=[dict(type='TSSA', qkv_bias=True), dict(type='CBSA')])
    wrapper = build_optim_wrapper(model, dict(
        optimizer=dict(type='AdamW', lr=1e-3, weight_decay=0.05),
        paramwise_cfg=dict(norm_decay_mult=0., bias_decay_mult=0., flat_decay_mult=0.,
                           custom_keys=WhiteBoxTransformer.no_weight_decay)))
    names = {id(p): name for name, p in model.named_parameters()}
    free = {names[id(p)] for group in wrapper.param_groups if group['weight_decay'] == 0
            for p in group['params']}
    assert {'cls_token', 'pos_embed.table', 'layers.0.attn.temp', 'layers.0.attn.proj.bias',
            'layers.0.norm1.weight', 'norm.bias'} <= free
    assert not {'layers.0.attn.proj.weight', 'layers.1.attn.step_x', 'stem.proj.weight'} & free


def test_initialisation():
    crate, vit = build('crate-tiny', img_size=512), build('vit-tiny', img_size=512)
    crate.init_weights(), vit.init_weights()
    crate.requires_grad_(False), vit.requires_grad_(False)
    assert crate.pos_embed.table.std() == pytest.approx(1, abs=0.05)
    assert vit.pos_embed.table.std() == pytest.approx(0.02, abs=0.001)
    assert vit.layers[0].ffn.fc1.weight.std() == pytest.approx(0.02, abs=0.002)
    assert (vit.layers[0].ffn.fc1.bias == 0).all()
    assert crate.layers[0].attn.proj.weight.abs().max() == pytest.approx(D**-0.5, rel=0.02)


def test_layer_depth():
    model = classifier('tost-tiny')
    depths = {name: model.get_layer_depth(name)[0] for name, _ in model.named_parameters()}
    assert depths['backbone.stem.stages.0.0.weight'] == depths['backbone.pos_embed.proj.bias'] == 0
    assert depths['backbone.layers.1.attn.temp'] == 2
    assert depths['backbone.cls_token'] == depths['backbone.norm.weight'] == depths['head.fc.bias'] == 3
    assert build('cbt-tiny').get_layer_depth('cls_token') == (0, 4)


def test_as_a_segmentation_backbone(images):
    from mmseg.registry import MODELS as SEG_MODELS
    model = SEG_MODELS.build(dict(
        type='EncoderDecoder',
        backbone=dict(type='mmwhitebox.WhiteBoxTransformer', arch=settings('cbt-tiny'), img_size=SIZE,
                      out_type='featmap'),
        decode_head=dict(type='mmwhitebox.WhiteBoxMaskHead', in_channels=D, channels=D, num_classes=4,
                         num_layers=1, attention=dict(type='CBSA', num_heads=2, pool_size=2)),
        test_cfg=dict(mode='whole')))
    assert model(images, mode='tensor').shape == (2, 4, 4, 4)


# Bad input

@pytest.mark.parametrize('kwargs, error, message', [
    (dict(arch='cbt-huge'), KeyError, "Unknown arch 'cbt-huge'. Known archs: cbt-tiny, .*vit-small"),
    (dict(arch=dict(embed_dims=8, width=3)), ValueError, r"Missing: \['num_layers', .*unknown: \['width'\]"),
    (dict(attention=dict(type='CBSB')), KeyError, "Unknown attention type 'CBSB'. Known types: .*CBSA.*DMSA"),
    (dict(feedforward=dict(type='FFN')), KeyError, "Unknown feedforward type 'FFN'. Known types: .*ISTA, MLP, ODL"),
    (dict(feedforward='ISTA'), ValueError, r"feedforward='ISTA' must be a config such as dict\(type='ISTA'\)"),
    (dict(stem=dict(type='Stem')), KeyError, "Unknown embedding type 'Stem'. Known types: ConvStem"),
    (dict(attention=dict(type='MSCA')), ValueError, 'MSCA does not update every token'),
    (dict(attention=[dict(type='CBSA')] * 3), ValueError, r'list of attention .* 3 .* \(num_layers\) is 2'),
    (dict(feedforward=[dict(type='MLP')]), ValueError, r'list of feedforward .* 1 .* \(num_layers\) is 2'),
    (dict(out_indices=2), ValueError, r'out_indices=2 must name layers .* 2, each in \[-2, 1\]'),
    (dict(out_indices=(-3, 1)), ValueError, r'out_indices=\(-3, 1\) must name layers'),
    (dict(out_indices=()), ValueError, r'out_indices=\(\) must name layers'),
    (dict(out_type='map'), ValueError, "out_type must be one of .*'featmap'.*, got 'map'"),
    (dict(with_cls_token=False), ValueError, "out_type='cls_token' needs with_cls_token=True"),
    (dict(frozen_stages=3), ValueError, r'frozen_stages=3 is not in \[-1, 2\]'),
    (dict(img_size=(64, 12)), ValueError, 'image of 64 x 12 pixels is smaller than one patch of 16 x 16'),
    (dict(patch_size=12), ValueError, 'patch_size must be a power of two, got 12'),
    (dict(interpolate_mode='nearest'), ValueError, "interpolate_mode must be .* got 'nearest'"),
])
def test_bad_options(kwargs, error, message):
    with pytest.raises(error, match=message):
        WhiteBoxTransformer(**{**dict(arch=settings('cbt-tiny'), img_size=SIZE), **kwargs})


def test_conv_stem_refuses_an_indivisible_width():
    with pytest.raises(ValueError, match=r'embed_dims \(20\) must be divisible by 8'):
        WhiteBoxTransformer(dict(settings('cbt-tiny'), embed_dims=20))


@pytest.mark.parametrize('arch', ['tost-tiny', 'dmst-tiny'])
def test_a_class_token_that_joins_last_is_not_in_earlier_layers(arch):
    with pytest.raises(ValueError, match="joins after the last layer, so out_type='cls_token' has only"):
        build(arch, out_indices=(0, 1))


@pytest.mark.parametrize('arch', ['cbt-tiny', 'crate-tiny', 'vit-tiny'])
def test_image_smaller_than_a_patch(arch):
    with pytest.raises(ValueError, match='image of 15 x 64 pixels is smaller than one patch of 16 x 16'):
        build(arch)(torch.randn(1, 3, 15, 64))


def test_a_grid_smaller_than_the_pool_is_allowed():
    model = build(attention=dict(type='CBSA', pool_size=8)).eval()
    assert model(torch.randn(2, 3, 32, 48))[0].isfinite().all()
