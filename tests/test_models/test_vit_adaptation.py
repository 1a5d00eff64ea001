"""A ViT with CBSA-style or linear attention: golden values, weights kept, any grid, class tokens."""
import copy

import pytest
import timm
import torch
from mmengine.registry import MODELS, init_default_scope

from mmwhitebox.former_names import FormerName, warn_former
from mmwhitebox.interpret import count_similarities
from mmwhitebox.models.attention import AgentAttention, ReLULinearAttention
from mmwhitebox.models.backbones import TimmViT
from tests.golden import Golden, assert_close, check_gradients, form  # noqa: F401

TINY = dict(embed_dim=24, depth=2, num_heads=2)
PLAIN = ['vit_tiny_patch16_224', 'deit_tiny_distilled_patch16_224', 'deit3_small_patch16_224',
         'vit_small_patch14_reg4_dinov2']


def build(attention, model_name='vit_tiny_patch16_224', model_kwargs=TINY, **kwargs):
    return TimmViT(model_name=model_name, attention=attention, model_kwargs=model_kwargs, **kwargs)


def test_golden_attention(form):  # noqa: F811
    golden = Golden('vit_adapt_attention')
    attention = build('agent', pool_tokens='official', model_kwargs=dict(embed_dim=48, depth=1, num_heads=3)
                      ).vit.blocks[0].attn
    attention.load_state_dict(golden.params)  # under the official names, which are timm's
    x = golden.inputs['x'].requires_grad_()
    y = attention(x, (14, 14))
    assert_close(y, golden.outputs['y'], 'y')
    check_gradients(golden, attention, y, x, lambda grads: grads)


@pytest.mark.parametrize('name', PLAIN)
@pytest.mark.parametrize('attention', ['agent', 'agent_contraction', 'relu_linear'])
def test_any_grid_with_the_weights_of_the_vit(name, attention):
    """The forward pass is the ViT's, with the attention computed on its own grid; extra tokens are first."""
    softmax = build(None, name)
    model = build(attention, name, out_indices=(0, 1))
    model.load_state_dict(softmax.state_dict())
    p, vit = model.patch_size[0], model.vit
    images = torch.randn(2, 3, 2 * p + 3, 5 * p)
    maps = model.eval()(images)
    assert [tuple(m.shape) for m in maps] == [(2, 24, 3, 5)] * 2
    sum(m.square().sum() for m in maps).backward()
    assert all(value.grad is not None for value in model.parameters())

    plain = ReLULinearAttention(24, 2) if attention == 'relu_linear' else \
        AgentAttention(24, 2, shared_qkv=False, qkv_bias=True)
    block = vit.blocks[0]
    plain.load_state_dict({**{f'qkv.{k}': v for k, v in block.attn.qkv.state_dict().items()},
                           **{f'to_out.{k}': v for k, v in block.attn.proj.state_dict().items()}})
    with torch.no_grad():
        x = vit.norm_pre(vit._pos_embed(vit.patch_embed(images)))
        x = x + block.ls1(plain(block.norm1(x), (3, 5)))
        x = x + block.ls2(block.mlp(block.norm2(x)))
        expected = vit.norm(x)[:, model.num_extra_tokens:].mT.unflatten(2, (3, 5))
    torch.testing.assert_close(maps[0].detach(), expected)


def test_every_window_its_own_grid_while_activations_are_recomputed():
    """Two grids with as many tokens, both before the backward pass."""
    plain, saving = build('agent'), build('agent', with_cp=True)
    saving.load_state_dict(plain.state_dict())
    wide, high = torch.randn(1, 3, 32, 96), torch.randn(1, 3, 96, 32)
    for model in (plain, saving):
        model.train()
        (model(wide)[0].square().sum() + model(high)[0].pow(3).sum()).backward()
    for (key, a), b in zip(plain.named_parameters(), saving.parameters()):
        torch.testing.assert_close(a.grad, b.grad, msg=key)


def test_a_copy_has_its_own_grid():
    model = build('agent').eval()
    copied = copy.deepcopy(model)
    x = torch.randn(1, 3, 48, 64)
    assert torch.equal(copied(x)[0], model(x)[0])
    assert copied.vit.blocks[0].attn.hw_shape is None


def test_pretrained_weights_of_the_vit(tmp_path):
    source = timm.create_model('vit_tiny_patch16_224', num_classes=5, **TINY)
    torch.save(source.state_dict(), tmp_path / 'vit.pth')
    model = build('agent', pretrained=str(tmp_path / 'vit.pth'))
    model.init_weights()
    own, theirs = model.vit.state_dict(), source.state_dict()
    assert set(own) == set(theirs) - {'head.weight', 'head.bias'}
    assert all(torch.equal(value, theirs[key]) for key, value in own.items())


@pytest.mark.parametrize('attention', [None, 'agent', 'agent_contraction', 'relu_linear'])
def test_class_token_for_a_classifier(attention):
    init_default_scope('mmpretrain')
    model = MODELS.build(dict(
        type='ImageClassifier',
        backbone=dict(type='mmwhitebox.TimmViT', model_name='vit_tiny_patch16_224', model_kwargs=TINY,
                      out_type='cls_token', attention=attention),
        head=dict(type='LinearClsHead', num_classes=5, in_channels=24))).eval()
    images = torch.randn(2, 3, 40, 64)
    assert model(images, mode='tensor').shape == (2, 5)
    if attention is None:
        vit = model.backbone.vit
        torch.testing.assert_close(model.backbone(images)[0], vit.forward_features(images)[:, 0])


def test_it_costs_what_its_attention_says():
    images = torch.randn(1, 3, 224, 224)
    assert count_similarities(build('agent').eval(), images) == 2 * 2 * 64 * 197 * 2  # two layers, two heads
    assert count_similarities(build('relu_linear').eval(), images) == 2 * 12**2 * 2


def test_attention_maps_give_the_output():
    attention = build('agent').vit.blocks[0].attn
    x = torch.randn(1, 21, 24)
    v = attention.split_heads(attention.qkv(x).chunk(3, dim=-1)[2])
    y = attention.project_out(attention.attention_map(x, (4, 5)) @ v)
    torch.testing.assert_close(y, attention(x, (4, 5)))


@pytest.mark.parametrize('kwargs, message', [
    (dict(attention='mssa'), r"attention must be one of \(None, 'agent', 'agent_contraction', 'relu_linear'\), got"),
    (dict(attention='agent', pool_tokens='all'), "pool_tokens must be one of"),
    (dict(attention=None, out_type='raw'), "out_type must be one of .* got 'raw'"),
    (dict(attention='agent', model_name='eva02_tiny_patch14_224'), 'does not apply to a Eva'),
    (dict(attention='relu_linear', model_kwargs=dict(TINY, qk_norm=True)),
     'does not apply to a VisionTransformer'),
    (dict(attention=None, out_type='cls_token', model_name='vit_base_patch16_siglip_224'),
     "has no class token, so out_type is 'featmap'"),
])
def test_errors(kwargs, message):
    with pytest.raises(ValueError, match=message):
        build(**kwargs)


@pytest.mark.parametrize('former, name', [('cbsa', 'agent'), ('linear', 'relu_linear'), ('softmax', None)])
def test_former_names_are_taken_with_a_warning(former, name):
    warn_former.cache_clear()
    with pytest.warns(FormerName, match=f'{former!r} is attention={name!r} now'):
        model = build(former)
    assert model.attention == name
    model.load_state_dict(build(name).state_dict())


@torch.no_grad()
def test_with_contraction_what_the_agents_read_attends_to_itself():
    """Step by step, and as one map; the parameters are those of the ViT as without."""
    attention = build('agent_contraction', pool_size=3).eval().vit.blocks[0].attn
    torch.nn.init.normal_(attention.qkv.weight)  # far from where every softmax is even
    x, grid = torch.randn(2, 1 + 20, attention.embed_dims), (4, 5)
    q, k, v = attention.qkv(x).unflatten(-1, (3, attention.num_heads, -1)).permute(2, 0, 3, 1, 4)
    pooled = torch.nn.functional.adaptive_avg_pool2d(q[:, :, 1:].transpose(2, 3).flatten(1, 2).unflatten(2, grid), 3)
    agents = pooled.flatten(2).unflatten(1, (attention.num_heads, -1)).transpose(2, 3)
    scale = q.shape[-1]**-0.5
    read = (scale * agents @ k.mT).softmax(-1) @ v
    contracted = (scale * read @ read.mT).softmax(-1) @ read
    out = ((scale * q @ agents.mT).softmax(-1) @ contracted).transpose(1, 2).flatten(2)
    torch.testing.assert_close(attention(x, grid), attention.proj(out))
    torch.testing.assert_close(attention.project_out(attention.attention_map(x, grid) @ v), attention.proj(out))
    plain = build('agent', pool_size=3).vit.blocks[0].attn
    assert set(plain.state_dict()) == set(attention.state_dict())
    extra = attention.pairwise_similarities(grid, 1) - plain.pairwise_similarities(grid, 1)
    assert extra == 9 * 10 // 2 * attention.num_heads
