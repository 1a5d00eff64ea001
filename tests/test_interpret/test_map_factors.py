"""Factors of maps: their product is the map, and they are smaller than it."""
import pytest
import timm
import torch
from timm.layers.attention import AttentionRope
from timm.models.eva import EvaAttention
from torch import nn

from mmwhitebox.interpret.attention_map import attention_matrix, scaled_dot_products
from mmwhitebox.interpret.map_factors import map_factors
from mmwhitebox.models.attention import CBSA, AgentAttention, build_attention
from mmwhitebox.models.backbones import TimmViT
from mmwhitebox.models.backbones.vit_adaptation import AdaptedAgent, AdaptedReLULinear
from mmwhitebox.registry import ATTENTIONS

GRID = (5, 7)
TOKENS = 1 + 35
ATTENTIONS.import_from_location()
FORMS = dict(CBSA='gram', MSSA='softmax', MSCA='softmax', MHSA='softmax', ClassAttention='softmax', Agent='product',
             ReLULinear='product', Spectral='matrix', Linear='matrix', TSSA=None, DMSA=None, Channel=None)


def call_of(name):
    return (torch.randn(2, 4, 16), torch.randn(2, 35, 16)) if name == 'MSCA' else (torch.randn(2, TOKENS, 16), GRID)


@pytest.mark.parametrize('name', sorted(ATTENTIONS.module_dict))
def test_every_registered_attention(name):
    pool = dict(pool_size=2) if name in ('CBSA', 'Agent') else {}
    attention = build_attention(dict(type=name, **pool), embed_dims=16, num_heads=2).eval()
    args = call_of(name)
    with torch.no_grad():
        factors = map_factors(attention, args)
        assert (factors and factors.form) == FORMS[name]
        if factors is None:
            return
        torch.testing.assert_close(factors.matrix(), attention_matrix(attention, args)[0], atol=1e-6, rtol=1e-4)
        assert not torch.allclose(factors.matrix(), attention_matrix(attention, args)[1])  # of the first image
    if factors.form != 'matrix' and attention.updates_all_tokens:
        assert factors.left.numel() < factors.matrix().numel() and factors.right.numel() < factors.matrix().numel()
    assert (factors.left is factors.right) == (name in ('CBSA', 'MSSA', 'Spectral', 'Linear'))


@pytest.mark.parametrize('attention', [
    CBSA(16, 2, pool_size=3, pool_tokens='official'), CBSA(16, 2, pool_size=2, representatives='learned', dwc=True),
    AgentAttention(16, 2, pool_size=2, contraction=True), AgentAttention(16, 2, pool_size=2, shared_qkv=False),
    AdaptedAgent(timm.layers.Attention(16, 2), pool_size=2, contraction=True),
    AdaptedReLULinear(timm.layers.Attention(16, 2))
])
@torch.no_grad()
def test_variants(attention):
    args = call_of('')
    torch.testing.assert_close(map_factors(attention, args).matrix(), attention_matrix(attention, args)[0],
                               atol=1e-6, rtol=1e-4)


def test_agent_with_contraction_is_what_it_computes():
    attention = AgentAttention(16, 2, pool_size=2, contraction=True)
    x = torch.randn(1, TOKENS, 16)
    with torch.no_grad():
        heads = map_factors(attention, (x, GRID)).matrix() @ attention.split_heads(attention.qkv(x))[0]
        torch.testing.assert_close(attention.project_out(heads[None]), attention(x, GRID))


@pytest.mark.parametrize('fused', [True, False])
@pytest.mark.parametrize('attention, kwargs', [
    (timm.layers.Attention(16, 2), {}), (timm.layers.Attention(16, 2, qk_norm=True, norm_layer=nn.LayerNorm), {}),
    (AttentionRope(16, 4, qkv_fused=False, num_kv_heads=2), dict(rope=torch.randn(35, 8))),
    (EvaAttention(16, 2, norm_layer=nn.LayerNorm), dict(rope=torch.randn(35, 16))),
    (timm.layers.Attention(16, 2), dict(attn_mask=torch.randn(TOKENS, TOKENS))),
    (timm.layers.Attention(16, 2), dict(attn_mask=torch.rand(TOKENS, TOKENS) > 0.5)),
])
@torch.no_grad()
def test_timm(attention, kwargs, fused):
    """From a pass that runs anyway; a mask makes it the whole matrix."""
    attention.eval().fused_attn = fused
    x = torch.randn(2, TOKENS, 16)
    with scaled_dot_products(dict(a=attention)) as found:
        output = attention(x, **kwargs)
        assert attention.fused_attn
    assert attention.fused_attn == fused and not attention._forward_hooks and not attention._forward_pre_hooks
    torch.testing.assert_close(output, attention(x, **kwargs))
    factors = map_factors(attention, (x, ), found['a'])
    assert factors.form == ('matrix' if 'attn_mask' in kwargs else 'softmax')
    attention.fused_attn = False  # timm's own matrix, from where its dropout would act
    matrices = []
    attention.attn_drop.register_forward_hook(lambda module, args, output: matrices.append(output))
    attention(x, **kwargs)
    torch.testing.assert_close(factors.matrix(), matrices[0][0], atol=1e-6, rtol=1e-4)


@torch.no_grad()
def test_a_whole_vit_in_one_pass():
    small = dict(embed_dim=24, depth=3, num_heads=3)
    model = TimmViT('vit_small_patch16_dinov3', img_size=64, model_kwargs=small).eval()
    attentions = {f'{i}': block.attn for i, block in enumerate(model.vit.blocks)}
    calls = []
    for attention in attentions.values():
        attention.qkv.register_forward_hook(lambda *_: calls.append(1))
    with scaled_dot_products(attentions) as found:
        model(torch.randn(1, 3, 48, 64))
    assert len(calls) == 3 and list(found) == list(attentions)
    assert [product.query.shape for product in found.values()] == [(1, 3, 12 + 5, 8)] * 3


def test_a_timm_module_of_two_softmaxes_has_no_factors():
    class Twice(timm.layers.Attention):
        def forward(self, x):
            return super().forward(super().forward(x))

    with scaled_dot_products(dict(a=Twice(16, 2))) as found, torch.no_grad():
        Twice(16, 2)
    assert found == {}
    attention = Twice(16, 2)
    with scaled_dot_products(dict(a=attention)) as found, torch.no_grad():
        attention(torch.randn(1, 4, 16))
    assert found == dict(a=None) and map_factors(attention, (), found['a']) is None


def test_hooks_are_gone_after_an_error():
    attention = timm.layers.Attention(16, 2)
    attention.fused_attn = False
    with pytest.raises(RuntimeError), scaled_dot_products(dict(a=attention)):
        attention(torch.randn(1, 4, 3))
    assert not attention.fused_attn and not attention._forward_hooks and not attention._forward_pre_hooks
