"""Every registered attention keeps the common contract; what is special to one comes after."""
import itertools

import pytest
import torch
from torch import nn
from torch.nn.modules.module import register_module_forward_hook

from mmwhitebox.models.attention import CBSA, DMSA, MSSA, TSSA, AgentAttention, ClassAttention, build_attention
from mmwhitebox.ops import sparsemax
from mmwhitebox.ops.cbsa import naive
from mmwhitebox.ops.saved import saved_storages
from mmwhitebox.registry import ATTENTIONS

D, K, P, GRID, EXTRA = 16, 2, 6, (3, 5), 2
N = EXTRA + GRID[0] * GRID[1]
NAMES = sorted(name for name, cls in ATTENTIONS.module_dict.items() if cls.updates_all_tokens and name != 'Linear')


def build(name, **kwargs):
    return build_attention(dict(type=name, **kwargs), embed_dims=D, num_heads=K, pool_size=2)


@pytest.fixture
def x():
    return torch.randn(2, N, D)


def test_cross_attentions_are_marked():
    assert {'CBSA', 'DMSA', 'TSSA', 'MSSA', 'MHSA', 'Agent', 'Spectral', 'ReLULinear', 'Channel'} <= set(NAMES)
    assert not {'MSCA', 'ClassAttention'} & set(NAMES)


@pytest.mark.parametrize('name', NAMES)
@pytest.mark.parametrize('kwargs', [{}, dict(head_dims=P)], ids=['D / K', 'head_dims'])
def test_output_and_gradients(name, kwargs, x):
    module = build(name, **kwargs)
    x.requires_grad_()
    y = module(x, GRID)
    assert y.shape == x.shape and y.isfinite().all()
    y.square().sum().backward()
    for key, tensor in (('x', x), *module.named_parameters()):
        assert tensor.grad is not None and tensor.grad.isfinite().all() and tensor.grad.abs().sum() > 0, key


@pytest.mark.parametrize('name', NAMES)
def test_images_of_a_batch_do_not_meet(name, x):
    module = build(name)
    torch.testing.assert_close(module(x, GRID)[1:], module(x[1:], GRID))


@pytest.mark.parametrize('name', NAMES)
@pytest.mark.parametrize('dtype', [torch.float64, torch.float32, torch.bfloat16])
def test_dtype_is_kept(name, dtype, x):
    module = build(name).to(dtype)
    y = module(x.to(dtype), GRID)
    assert y.dtype == dtype
    torch.testing.assert_close(y.double(), module.double()(x.to(dtype).double(), GRID), rtol=0.05, atol=0.05)


@pytest.mark.parametrize('name', NAMES)
def test_bf16_autocast(name, x):
    module = build(name)
    expected = module(x, GRID)
    with torch.autocast('cpu', torch.bfloat16):
        y = module(x, GRID)
    y.float().square().mean().backward()
    torch.testing.assert_close(y.float(), expected, rtol=0.05, atol=0.05)
    assert all(p.grad.isfinite().all() and p.grad.dtype == torch.float32 for p in module.parameters())


@pytest.mark.parametrize('name', NAMES)
def test_map_or_membership(name, x):
    module = build(name)
    if hasattr(module, 'attention_map'):
        weights = module.attention_map(x, GRID)
        assert weights.shape == (2, K, N, N)
    else:
        weights = module.membership(x, GRID)
        assert weights.shape == (2, K, N) and (weights >= 0).all()
    assert weights.isfinite().all()


@pytest.mark.parametrize('name', ['MSSA', 'MHSA', 'Agent', 'Spectral', 'ReLULinear'])
def test_the_map_is_what_the_output_is_made_of(name, x):
    """Heads = map times values, where the values are the projected tokens."""
    module = build(name).double()
    x = x.double()
    values = module.subspace_tokens(x) if hasattr(module, 'proj') else module.split_heads(
        module.qkv(x).split(module.inner_dims, -1)[-1])
    heads = module.attention_map(x, GRID) @ values
    if name == 'Spectral':
        heads = module.step_x * heads
    torch.testing.assert_close(module.project_out(heads), module(x, GRID), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize('name, expected', [
    ('MSSA', 197 * 197 * 3), ('MHSA', 197 * 197 * 3), ('CBSA', (64 * 197 + 64 * 65 // 2) * 3),
    ('TSSA', 197 * 64 * 3), ('DMSA', 197 * 64 * 3), ('Channel', 197 * 64 * 3), ('Agent', 64 * 197 * 3),
    ('Spectral', 64 * 65 // 2 * 3), ('ReLULinear', 64 * 64 * 3)])
def test_pairwise_similarities(name, expected):
    module = build_attention(dict(type=name), embed_dims=192, num_heads=3)
    assert module.pairwise_similarities((14, 14), 1) == expected


@pytest.mark.parametrize('name', NAMES)
def test_tokens_that_do_not_fit(name, x):
    module = build(name)
    with pytest.raises(ValueError, match=r'17 tokens do not hold a patch grid of hw_shape=\(6, 3\)'):
        module(x, (6, 3))
    with pytest.raises(ValueError, match='takes tokens of shape'):
        module(x[..., :-1], GRID)


@pytest.mark.parametrize('name', sorted(ATTENTIONS.module_dict))
def test_indivisible_width(name):
    with pytest.raises(ValueError, match=r'embed_dims \(16\) is not divisible by num_heads \(3\)'):
        build_attention(dict(type=name, num_heads=3), embed_dims=16)


# TSSA and DMSA

ABLATIONS = {'DMSA': {}, 'TPUSA': dict(membership_act='st_tokens', gate_act=None),
             'TPSUSA': dict(membership_act='st_tokens'), 'sigmoid': dict(gate_act='sigmoid'),
             'relu': dict(gate_act='relu'), 'gelu': dict(gate_act='gelu'), 'gated': dict(membership_act=None)}


@pytest.mark.parametrize('ablation', ABLATIONS)
def test_dmsa_ablations_train_every_parameter(ablation, x):
    module = DMSA(D, K, qkv_bias=True, **ABLATIONS[ablation])
    module(x, GRID).square().sum().backward()
    assert all(p.grad.abs().sum() > 0 for p in module.parameters())
    assert module.membership(x, GRID).shape == module.gate(x, GRID).shape == (2, K, N)


def test_dmsa_ablations_are_different_operators(x):
    modules = [DMSA(D, K, **kwargs) for kwargs in ABLATIONS.values()]
    for module in modules:
        module.load_state_dict(modules[0].state_dict())
    outputs = [module(x, GRID) for module in modules]
    for a, b in itertools.combinations(outputs, 2):
        assert (a - b).abs().max() > 1e-4


def test_dmsa_gate_and_membership_come_from_the_same_logits(x):
    module = DMSA(D, K)
    logits = module.logits(x, GRID)
    torch.testing.assert_close(module.membership(x, GRID), logits.softmax(1))
    torch.testing.assert_close(module.gate(x, GRID), sparsemax(logits, 1))


@pytest.mark.parametrize('name, kwargs', [('TSSA', {}), ('Channel', {}), ('Spectral', {}),
                                          *(('DMSA', dict(rope=False, **a)) for a in ABLATIONS.values())])
def test_permuting_tokens_permutes_outputs(name, kwargs, x):
    module = build(name, **kwargs)
    order = torch.randperm(N)
    torch.testing.assert_close(module(x[:, order], GRID), module(x, GRID)[:, order])


def test_rope_makes_dmsa_depend_on_the_order(x):
    module = DMSA(D, K)
    order = torch.randperm(N)
    assert (module(x[:, order], GRID) - module(x, GRID)[:, order]).abs().max() > 1e-4


@pytest.mark.parametrize('name', ['TSSA', 'DMSA', 'CBSA', 'Agent', 'Spectral', 'ReLULinear', 'Channel'])
def test_memory_saved_for_the_backward_pass_is_linear_in_the_tokens(name):
    module = build(name)

    def saved(side):
        x = torch.randn(1, side * side, D, requires_grad=True)
        return sum(saved_storages(lambda: module(x, (side, side))))

    small, large = saved(8), saved(16)  # 4 times the tokens
    assert 2 < large / small < 4.2


@pytest.mark.parametrize('kwargs, message', [
    (dict(membership_act='hard'), "membership_act must be one of .*'st_tokens'.*, got 'hard'"),
    (dict(gate_act='tanh'), "gate_act must be one of .*'gelu'.*, got 'tanh'"),
    (dict(membership_act=None, gate_act=None), 'the logits have no use'),
    (dict(embed_dims=18), 'rope needs embed_dims divisible by 4, got 18')])
def test_dmsa_bad_options(kwargs, message):
    with pytest.raises(ValueError, match=message):
        DMSA(**{**dict(embed_dims=D, num_heads=K), **kwargs})


def test_tssa_bias_is_an_option():
    assert TSSA(D, K).proj.bias is None and TSSA(D, K, qkv_bias=True).proj.bias is not None


# Agent and class attention

def test_agent_with_shared_projection_is_cbsa_s_relative(x):
    """Same agents; with the broadcast normalised over the agents, the representatives are read alike."""
    agent, cbsa = AgentAttention(D, K, pool_size=2), CBSA(D, K, pool_size=2, contraction=None)
    agent.qkv.weight.data.copy_(cbsa.proj.weight.data)
    r0 = agent.queries_keys_values_agents(x, GRID)[-1]
    torch.testing.assert_close(r0, cbsa.tokens_and_representatives(x, GRID)[1])


def test_agent_bad_pool():
    with pytest.raises(ValueError, match="pool_tokens must be one of .*, got 'all'"):
        AgentAttention(D, K, pool_tokens='all')


def test_class_attention_updates_the_extra_tokens_from_all_tokens(x):
    module = ClassAttention(D, K)
    y = module(x, GRID)
    assert y.shape == (2, EXTRA, D)
    weights = module.attention_map(x, GRID)
    assert weights.shape == (2, K, EXTRA, N)
    values = module.split_heads(module.kv(x).chunk(2, -1)[1])
    torch.testing.assert_close(module.project_out(weights @ values), y)
    assert module.pairwise_similarities(GRID, 1) == 16 * K


@pytest.mark.parametrize('orthogonal, groups', [('head', 3), ('all', 1)])
def test_orthogonal_projections_stay_orthonormal(orthogonal, groups):
    """DEPICT's bases U_k: orthonormal at the start and after a step, and the step moves them."""
    torch.manual_seed(0)
    attention = MSSA(48, 3, head_dims=12, out_proj='shared', orthogonal=orthogonal)
    optimizer = torch.optim.SGD(attention.parameters(), lr=1.)
    before = attention.proj.weight.detach().clone()
    attention(torch.randn(2, 16, 48), (4, 4)).square().sum().backward()
    optimizer.step()
    for weight in (before, attention.proj.weight.detach()):
        rows = weight.unflatten(0, (groups, -1))
        torch.testing.assert_close(rows @ rows.mT, torch.eye(36 // groups).expand(groups, -1, -1), rtol=0, atol=1e-5)
    assert not torch.allclose(before, attention.proj.weight)
    with pytest.raises(ValueError, match='60 orthonormal vectors of 48'):
        MSSA(48, 3, head_dims=20, orthogonal='all')


class Watched(nn.Linear):
    """A map back that is no plain Linear, as an adapter makes it."""


def ways_to_watch():
    def parametrised(linear):
        nn.utils.parametrizations.weight_norm(linear)

    def replaced(linear):
        linear.__class__ = Watched

    def forward(linear):
        linear.forward = type(linear).forward.__get__(linear)

    return dict(forward_hook=lambda linear: linear.register_forward_hook(lambda *_: None),
                forward_pre_hook=lambda linear: linear.register_forward_pre_hook(lambda *_: None),
                full_backward_hook=lambda linear: linear.register_full_backward_hook(lambda *_: None),
                full_backward_pre_hook=lambda linear: linear.register_full_backward_pre_hook(lambda *_: None),
                everywhere=lambda linear: register_module_forward_hook(lambda *_: None),
                parametrised=parametrised, replaced=replaced, forward=forward)


@pytest.mark.parametrize('way', ways_to_watch())
def test_a_map_back_that_is_watched_is_called(way, monkeypatch):
    """CBSA passes its map by where it can; a hook, another type and another forward see their call."""
    module, x = CBSA(8, 2, pool_size=2), torch.randn(1, 300, 8)
    expected, calls = module(x, (15, 20)), []
    own = nn.Linear.forward
    monkeypatch.setattr(nn.Linear, 'forward', lambda self, y: calls.append(self is module.to_out) or own(self, y))
    torch.testing.assert_close(module(x, (15, 20)), expected)
    assert calls == [False]  # the projection
    handle = ways_to_watch()[way](module.to_out)
    try:
        torch.testing.assert_close(module(x, (15, 20)), expected)
        assert calls == [False, False, True]
    finally:
        if way == 'everywhere':
            handle.remove()


def test_a_hook_on_the_map_back_reads_the_heads():
    module, x, read = CBSA(8, 2, pool_size=2), torch.randn(1, 300, 8), []
    module.to_out.register_forward_hook(lambda _, args, output: read.extend([*args, output]))
    out = module(x, (15, 20))
    heads, mapped = read
    w, r0 = module.tokens_and_representatives(x, (15, 20))
    expected = naive.cbsa(w, r0, module.step_rep, module.step_x)
    torch.testing.assert_close(heads, module.merge_heads(expected))
    assert torch.equal(mapped, out)


class Quantised(torch.Tensor):
    """A weight that only knows how to be the matrix of a Linear."""

    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):
        if func is torch.nn.functional.linear:
            x, weight, *bias = (a.as_subclass(torch.Tensor) if isinstance(a, cls) else a for a in args)
            return torch.nn.functional.linear(x, weight, *bias)
        if func.__name__ in ('__get__', 'requires_grad_', 'detach', 'as_subclass'):
            return super().__torch_function__(func, types, args, kwargs or {})
        raise NotImplementedError(func)


def test_a_map_back_with_a_quantised_weight_is_called():
    module, x = CBSA(8, 2, pool_size=2).requires_grad_(False), torch.randn(1, 300, 8)
    expected = module(x, (15, 20))
    weight = module.to_out.weight.detach()
    del module.to_out.weight
    module.to_out.register_parameter('weight', None)
    module.to_out._parameters['weight'] = weight.as_subclass(Quantised)
    torch.testing.assert_close(module(x, (15, 20)), expected)
