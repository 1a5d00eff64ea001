"""What the operators keep for the backward pass, what they allocate, and that they never wait for the device."""
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from mmwhitebox import ops
from mmwhitebox.models.attention import build_attention
from mmwhitebox.models.backbones import WhiteBoxTransformer
from mmwhitebox.ops.saved import saved_storages

from .memory import allocations, largest_alive, peak

B, K, N, P, M = 2, 4, 256, 16, 64
GRID = (16, 16)
OPERATORS = set(ops.__all__) - {'use'}


def tokens(b=B, k=K, n=N, p=P, dtype=torch.float32, requires_grad=True):
    """W as the modules make it: the heads are a view of (B, N, K*p)."""
    leaf = torch.randn(b, n, k * p, dtype=dtype).requires_grad_(requires_grad)
    return leaf.unflatten(-1, (k, p)).transpose(1, 2)


def leaf(*shape, dtype=torch.float32):
    return torch.randn(*shape, dtype=dtype).requires_grad_()


def calls(k=K, n=N, p=P, dtype=torch.float32):
    """Every operator on tensors of its own: name -> function without arguments."""
    w, s = tokens(k=k, n=n, p=p, dtype=dtype), tokens(k=k, n=n, p=p, dtype=dtype)
    r0, steps = leaf(B, k, M, p, dtype=dtype), [leaf(k, 1, 1, dtype=dtype) for _ in range(2)]
    temp, logits, x = leaf(k, 1), leaf(B, k, n, dtype=dtype), leaf(B, n, k * p, dtype=dtype)
    side = int(n**0.5)
    return dict(
        adaptive_avg_pool=lambda: ops.adaptive_avg_pool(x.unflatten(1, (side, side)).permute(0, 3, 1, 2), 3),
        agent_attention=lambda: ops.agent_attention(w, w, w, r0),
        broadcast=lambda: ops.broadcast(ops.extract(w, r0, steps[0])[0], r0),
        cbsa=lambda: ops.cbsa(w, r0, *steps),
        channel_attention=lambda: ops.channel_attention(w),
        contract=lambda: sum(ops.contract(r0[..., :m, :], act).sum() for m in (4, M) for act in ('softmax', 'inverse')),
        dmsa=lambda: ops.dmsa(w, logits) + ops.dmsa(w, logits, 'st_tokens', None),
        dmsa_gate=lambda: sum(ops.dmsa_gate(logits, act) for act in ('st', 'sigmoid', 'relu', 'gelu')),
        dmsa_membership=lambda: ops.dmsa_membership(logits),
        extract=lambda: ops.extract(w, r0, steps[0])[1],
        ista=lambda: ops.ista(x, leaf(k * p, k * p, dtype=dtype)),
        msca=lambda: ops.msca(r0, w),
        mssa=lambda: ops.mssa(w),
        odl=lambda: ops.odl(x, *(leaf(k * p, 2 * k * p, dtype=dtype) for _ in range(2))),
        pool_representatives=lambda: ops.pool_representatives(x, (side - 1, side), 8, k),
        relu_linear_attention=lambda: ops.relu_linear_attention(w, s, w),
        resize_positions=lambda: ops.resize_positions(x[:1], (side, side), (5, 7), num_extra=0),
        rope_2d=lambda: ops.rope_2d(x, (side, side)),
        sparsemax=lambda: ops.sparsemax(logits, 1),
        softmax_attention=lambda: ops.softmax_attention(r0, w, s),
        spectral_attention=lambda: ops.spectral_attention(w),
        tssa=lambda: ops.tssa(w, temp),
        tssa_membership=lambda: ops.tssa_membership(w, temp))


def official_tssa(w, temp):
    """The formula of ToST as one writes it down, every tensor made."""
    normalised = F.normalize(w, dim=-2)
    pi = torch.softmax((normalised**2).sum(-1) * temp, dim=1)
    second_moment = (pi / (pi.sum(-1, keepdim=True) + 1e-8)).unsqueeze(-2) @ w**2
    return -(w * pi.unsqueeze(-1)) * (1 / (1 + second_moment))


# What the graph keeps

@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16])
@pytest.mark.parametrize('name', ['tssa', 'dmsa'])
def test_tssa_and_dmsa_keep_the_tokens_and_statistics(name, dtype):
    w, logits = tokens(dtype=dtype), leaf(B, K, N, dtype=dtype)
    temp = leaf(K, 1)
    sizes = saved_storages(lambda: ops.tssa(w, temp) if name == 'tssa' else ops.dmsa(w, logits))
    statistic = 4 * B * K * N  # one float32 number for a token in a head
    large = [size for size in sizes if size > statistic]
    assert large == [w.numel() * w.element_size()]
    assert sum(sizes) <= large[0] + 5 * statistic + 3 * 4 * B * K * P


@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16])
@pytest.mark.parametrize('contraction', ['softmax', 'inverse', None])
def test_cbsa_keeps_no_coefficients(contraction, dtype):
    w, r0 = tokens(dtype=dtype), leaf(B, K, M, P, dtype=dtype)
    steps = [leaf(K, 1, 1, dtype=dtype) for _ in range(2)]
    sizes = saved_storages(lambda: ops.cbsa(w, r0, *steps, contraction=contraction))
    statistic = 4 * B * K * M * P  # a set of representatives
    assert [size for size in sizes if size > statistic] == [w.numel() * w.element_size()]
    assert sum(sizes) <= w.numel() * w.element_size() + 4 * statistic


def test_a_cbsa_module_keeps_no_output_of_the_heads():
    """Where its representatives are mapped back: the tokens before and after their projection, and small ones."""
    d, n = 32, 256
    module = build_attention(dict(type='CBSA', pool_size=2), embed_dims=d, num_heads=2)
    x = leaf(B, n, d)
    size = 4 * B * n * d
    assert [s for s in saved_storages(lambda: module(x, GRID), module.parameters()) if s >= size] == [size, size]
    watched = build_attention(dict(type='CBSA', pool_size=2), embed_dims=d, num_heads=2)
    watched.to_out.register_forward_hook(lambda *_: None)

    def step(module):
        module(x.detach().requires_grad_(), GRID).sum().backward()

    assert peak(lambda: step(module)) < peak(lambda: step(watched))


@pytest.mark.parametrize('with_cp', [False, True])
def test_a_transformer_in_training_keeps_no_coefficients(with_cp):
    """With checkpointed layers not even one set is kept, whatever the depth."""
    arch = dict(embed_dims=16, num_layers=2, num_heads=2, attention=dict(type='CBSA', pool_size=8),
                feedforward=dict(type='ISTA'))
    model = WhiteBoxTransformer(arch, img_size=64, patch_size=4, with_cp=with_cp)
    images = torch.randn(1, 3, 64, 64)
    coefficients = 4 * 2 * 64 * 257  # (1, K, m, N) in float32
    sizes = saved_storages(lambda: model(images), model.parameters())
    assert max(sizes) < coefficients


@pytest.mark.parametrize('n', [N, 3], ids=['one product', 'two products'])
def test_ista_keeps_tokens_and_one_matrix(n):
    d = 32
    x, weight = leaf(n, d), leaf(d, d)
    sizes = saved_storages(lambda: ops.ista(x, weight), [weight])
    assert sum(sizes) <= 4 * (2 * n * d + min(d, n) * d)


# What is alive at once

@pytest.mark.parametrize('n', [1024, 2048])
@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16])
def test_peak_of_dmsa_is_under_four_fifths_of_the_official_tssa(n, dtype):
    k, p = 4, 48
    grad, temp = torch.randn(1, k, n, p, dtype=dtype), leaf(k, 1, dtype=dtype)
    data, logits = tokens(1, k, n, p, dtype, False), leaf(1, n, k, dtype=dtype).transpose(1, 2)

    def step(operator, *args):
        operator(data.detach().requires_grad_(), *args).backward(grad)

    official = peak(lambda: step(official_tssa, temp))
    assert peak(lambda: step(ops.dmsa, logits)) <= 0.79 * official
    assert peak(lambda: step(ops.tssa, temp)) <= 0.79 * official


class OfficialTSSA(nn.Module):

    def __init__(self, embed_dims, num_heads):
        super().__init__()
        self.num_heads = num_heads
        self.proj, self.to_out = nn.Linear(embed_dims, embed_dims), nn.Linear(embed_dims, embed_dims)
        self.temp = nn.Parameter(torch.ones(num_heads, 1))

    def forward(self, x, hw_shape):
        w = self.proj(x).unflatten(-1, (self.num_heads, -1)).transpose(1, 2)
        return self.to_out(official_tssa(w, self.temp).transpose(1, 2).flatten(2))


def test_peak_of_a_dmsa_module_is_under_four_fifths_of_the_official_tssa():
    """With both projections, the rotation and the logits."""
    d, k = 128, 4
    def held(module, side):
        x, grad = torch.randn(2, 1, side * side, d).unbind()
        return peak(lambda: module(x.detach().requires_grad_(), (side, side)).backward(grad))

    own = build_attention(dict(type='DMSA', qkv_bias=True), embed_dims=d, num_heads=k)
    for side in (32, 45):
        assert held(own, side) <= 0.79 * held(OfficialTSSA(d, k), side)


@pytest.mark.parametrize('dtype', [torch.float32, torch.float64, torch.bfloat16, torch.float16])
@pytest.mark.parametrize('contraction', ['softmax', 'inverse', None])
def test_cbsa_holds_one_set_of_coefficients_in_inference(contraction, dtype):
    w, r0 = tokens(n=1024, dtype=dtype), leaf(B, K, M, P, dtype=dtype)
    steps = [leaf(K, 1, 1, dtype=dtype) for _ in range(2)]

    @torch.no_grad()
    def step():
        ops.cbsa(w, r0, *steps, contraction=contraction)

    assert largest_alive(step, B * K * M * 1024 * w.element_size()) == 1


# No permuted copy in the pool

@pytest.mark.parametrize('grid, pool', [((16, 16), 8), ((14, 14), 8), ((12, 9), 5)])
@pytest.mark.parametrize('batch, num_extra', [(1, 1), (3, 0), (3, 2)])
def test_pooling_copies_no_grid(grid, pool, batch, num_extra):
    h, w = grid
    x = leaf(batch, num_extra + h * w, 32)
    size = 4 * batch * h * w * 32

    @torch.no_grad()
    def forward():
        return ops.pool_representatives(x, grid, pool, 4)

    def step():
        torch.autograd.grad(ops.pool_representatives(x, grid, pool, 4), x, grad)

    grad = torch.randn_like(forward())
    assert largest_alive(forward, size) == 0
    assert largest_alive(step, size) == 1  # the gradient itself


# Linear growth

@pytest.mark.parametrize('name', ['CBSA', 'TSSA', 'DMSA'])
def test_work_and_memory_double_with_the_tokens(name):
    cfg = dict(type=name, pool_size=4) if name == 'CBSA' else dict(type=name)
    module = build_attention(cfg, embed_dims=32, num_heads=2)

    def cost(h):
        x = torch.randn(1, h * 32, 32)

        def step():
            module(x.detach().requires_grad_(), (h, 32)).sum().backward()

        with FlopCounterMode(display=False) as flops:
            step()
        given = sum(change for change in allocations(step) if change > 0)
        return torch.tensor([flops.get_total_flops(), given, peak(step)])

    ratio = cost(256) / cost(128)  # 8192 and 4096 tokens
    assert (ratio > 1.8).all() and (ratio <= 2.05).all()


# No wait for the device, no loop over the heads

class Operations(TorchDispatchMode):
    """Counts the operations that reach a device; one that the host waits for fails."""

    WAITS = ('_local_scalar_dense', 'nonzero', 'masked_select', 'is_nonzero', 'equal', 'unique')

    def __init__(self):
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func.overloadpacket.__name__
        assert name.rstrip('0123456789') not in self.WAITS, name
        if name.startswith('index'):  # by a mask: its true places are counted first
            assert not any(t.dtype == torch.bool for t in tree_leaves(args[1:])
                           if isinstance(t, torch.Tensor)), f'{name} by nonzero'
        self.count += 1
        return func(*args, **(kwargs or {}))


class NoErrorChecks(TorchFunctionMode):
    """Fails on functions that look, on the host, whether a matrix was singular; their _ex forms do not."""

    CHECKS = (torch.linalg.solve, torch.linalg.inv, torch.linalg.cholesky, torch.inverse)

    def __torch_function__(self, func, types, args=(), kwargs=None):
        assert func not in self.CHECKS, func.__name__
        return func(*args, **(kwargs or {}))


def operations(call):
    with NoErrorChecks(), Operations() as counter:
        call().sum().backward()
    return counter.count


def test_every_operator_is_listed():
    assert set(calls()) == OPERATORS


@pytest.mark.parametrize('name', sorted(OPERATORS))
def test_no_operator_waits_for_the_device_or_loops_over_heads(name):
    assert operations(calls(k=2)[name]) == operations(calls(k=5)[name])


@pytest.mark.parametrize('wait, name', [
    (lambda x: x * x.sum().item(), '_local_scalar_dense'), (lambda x: x[x > 0], 'nonzero'),
    (lambda x: torch.linalg.solve(x, x), 'linalg_solve')])
def test_a_wait_is_seen(wait, name):
    with pytest.raises(AssertionError, match=name):
        operations(lambda: wait(leaf(3, 3)))
