"""Fused DMSA against the naive form and float64; without a GPU in Triton's interpreter."""
import pytest
import torch

triton = pytest.importorskip('triton')
tl = pytest.importorskip('triton.language')

from mmwhitebox.ops import sparsemax  # noqa: E402
from mmwhitebox.ops.dmsa import triton as module  # noqa: E402
from mmwhitebox.ops.dmsa.eager import dmsa as eager  # noqa: E402
from mmwhitebox.ops.dmsa.naive import dmsa as naive  # noqa: E402
from mmwhitebox.ops.dmsa.triton import dmsa, unsupported  # noqa: E402
from mmwhitebox.ops.kernels import launch, moments  # noqa: E402
from mmwhitebox.ops.kernels.moments import sparsemax_heads  # noqa: E402

from .fused import DEVICE, compare, leaves, nan_empty, on_a_gpu, outputs_and_gradients, saved_numbers  # noqa: E402
from .triton_compile import compiled_kernels  # noqa: E402

F32, BF16, F16 = torch.float32, torch.bfloat16, torch.float16


def inputs(batch, heads, tokens, dims, dtype=F32):
    """S and L, laid out in memory as the module's maps leave them, and a gradient."""
    s = torch.randn(batch, tokens, heads, dims, device=DEVICE).to(dtype).transpose(1, 2)
    logits = torch.randn(batch, tokens, heads, device=DEVICE).to(dtype).transpose(1, 2)
    return s, logits, torch.randn(batch, heads, tokens, dims, device=DEVICE).to(dtype)


@pytest.mark.parametrize('batch, heads, tokens, dims, dtype', [
    (1, 1, 1, 128, F32),
    (2, 3, 5, 16, F32),
    on_a_gpu(1, 4, 63, 48, F32),
    (1, 3, 21, 100, F32),
    on_a_gpu(1, 3, 63, 100, F32),
    on_a_gpu(1, 8, 37, 64, F32),
    (3, 5, 12, 7, F32),
    (1, 20, 5, 16, F32),
    (1, 3, 280, 16, BF16),
    on_a_gpu(1, 3, 500, 16, BF16),
    on_a_gpu(1, 4, 197, 64, BF16),
    (2, 8, 1, 64, BF16),
    on_a_gpu(1, 3, 63, 100, F16),
    (1, 4, 21, 128, F16),
    on_a_gpu(1, 4, 63, 128, F16),
])
def test_as_exact_as_the_eager_form(batch, heads, tokens, dims, dtype):
    s, logits, grad = inputs(batch, heads, tokens, dims, dtype)
    compare(dmsa, eager, naive, (s, logits), grad)


@pytest.mark.parametrize('gate_act', ['sigmoid', 'relu', 'gelu', None])
def test_every_gate(gate_act):
    s, logits, grad = inputs(2, 3, 11, 16)
    forms = [lambda *x, op=op: op(*x, gate_act=gate_act) for op in (dmsa, eager, naive)]
    compare(*forms, (s, logits), grad)


@triton.jit
def sparsemax_kernel(Z, OUT, N, BN: tl.constexpr, K: tl.constexpr, BK: tl.constexpr):
    rows, heads = tl.arange(0, BN)[:, None], tl.arange(0, BK)[None, :]
    inside = (rows < N) & (heads < K)
    z = tl.load(Z + rows * K + heads, mask=inside, other=0.)
    tl.store(OUT + rows * K + heads, sparsemax_heads(z, K, BK), mask=inside)


@pytest.mark.parametrize('heads', [1, 3, 4, 8, 12, 16, 17, 40])
def test_soft_thresholding_in_registers(heads):
    """Random logits, all equal, ties inside, on and outside the edge of the support, and very large ones."""
    ramp = torch.arange(heads, dtype=F32)
    z = torch.stack([
        *torch.randn(8, heads), *3 * torch.randn(8, heads), *torch.randint(-2, 3, (16, heads)) / 2,
        torch.zeros(heads), ramp, -ramp, ramp // 2, ramp // 3 / 4, -(ramp >= heads // 2).float(),
        1e4 * torch.randn(heads), 1e30 * torch.randn(heads)]).to(DEVICE)
    out = torch.full_like(z, torch.nan)
    sparsemax_kernel[(1, )](z, out, len(z), BN=64, K=heads, BK=triton.next_power_of_2(heads))
    expected = sparsemax(z.double(), -1)
    torch.testing.assert_close(out.double(), expected, rtol=0, atol=1e-6)
    assert torch.equal(out[16:-2] > 0, expected[16:-2] > 0)  # exact numbers: the support is exact, too


def test_gradients_of_ties():
    s, _, grad = inputs(1, 4, 40, 16)
    logits = torch.randint(-2, 3, (1, 4, 40), device=DEVICE) / 2
    compare(dmsa, eager, naive, (s, logits), grad)
    compare(dmsa, eager, naive, (s, torch.zeros_like(logits)), grad)
    compare(dmsa, eager, naive, (s, 1e4 * logits), grad)


def test_any_strides():
    s, logits, grad = inputs(2, 3, 9, 16)
    expected = outputs_and_gradients(dmsa, (s, logits), grad)
    padded = torch.full((2, 11, 3 * 16 + 4), torch.nan, device=DEVICE)
    padded[:, 1:10, :48] = s.transpose(1, 2).flatten(2)
    for x, z in [(s.contiguous(), logits.contiguous()), (s.mT.contiguous().mT, logits),
                 (padded[:, 1:10, :48].unflatten(-1, (3, 16)).transpose(1, 2), logits.contiguous())]:
        x, z = x.detach().requires_grad_(), z.detach().requires_grad_()
        out = dmsa(x, z)
        for got, want in zip((out, *torch.autograd.grad(out, (x, z), grad.mT.contiguous().mT)), expected):
            torch.testing.assert_close(got, want, rtol=1e-6, atol=1e-7)
        got = torch.autograd.grad(dmsa(x, z).sum(), (x, z))  # the gradient of a sum has no strides at all
        for a, b in zip(got, torch.autograd.grad(naive(x, z).sum(), (x, z))):
            torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


def test_heads_merge_without_a_copy():
    s, logits, _ = inputs(2, 3, 9, 16)
    assert dmsa(s, logits).transpose(1, 2).is_contiguous()


def test_every_number_is_written(monkeypatch):
    s, logits, grad = inputs(2, 3, 21, 10)
    expected = outputs_and_gradients(dmsa, (s, logits), grad)
    monkeypatch.setattr(torch, 'empty', nan_empty)
    for got, want in zip(outputs_and_gradients(dmsa, (s, logits), grad), expected):
        assert torch.equal(got, want)


def test_splits_of_the_tokens(monkeypatch):
    """A long row of tokens is split over programs: the same result, and the same to the bit in every run."""
    s, logits, grad = inputs(1, 3, 20, 16)
    monkeypatch.setattr(moments, 'TILE_BYTES', 2048)
    monkeypatch.setattr(moments, 'TILES', 1)
    results = {}
    for processors in (0, 1, 1000):
        monkeypatch.setattr(launch, 'num_processors', lambda device, n=processors: n)
        splits = moments.plan(s, s, s).splits
        results[splits] = outputs_and_gradients(dmsa, (s, logits), grad)
    for a, b in zip(results[splits], outputs_and_gradients(dmsa, (s, logits), grad)):
        assert torch.equal(a, b)
    assert min(results) == 1 and max(results) > 4 and len(results) == 3
    one, *others = results.values()
    for other in others:
        for a, b in zip(other, one):
            torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)


def test_keeps_tokens_logits_and_statistics():
    batch, heads, tokens, dims = 2, 3, 40, 16
    s, logits = leaves(*inputs(batch, heads, tokens, dims)[:2])
    assert saved_numbers(dmsa, s, logits) == s.numel() + logits.numel() + batch * heads * (dims + 1)
    with torch.no_grad():
        assert dmsa(s, logits).grad_fn is None


def test_logits_wider_than_the_tokens():
    s, logits, grad = inputs(1, 3, 9, 16)
    compare(dmsa, eager, naive, (s.bfloat16(), logits), grad)


def test_autocast_changes_nothing():
    s, logits, _ = inputs(1, 3, 9, 16)
    with torch.autocast(DEVICE, BF16):
        out = dmsa(s, logits)
    assert torch.equal(out, dmsa(s, logits))


@pytest.mark.parametrize('changes, reason', [
    (dict(), None),
    (dict(gate_act='gelu'), None),
    (dict(membership_act='st_tokens'), "membership_act='st_tokens'"),
    (dict(membership_act=None), 'membership_act=None'),
    (dict(gate_act='tanh'), "gate_act='tanh'"),
    (dict(s=torch.empty(1, 2, 3, 16, dtype=torch.float64, device=DEVICE)), 'float64'),
    (dict(logits=torch.empty(1, 2, 3, dtype=torch.float64, device=DEVICE)), 'float64'),
    (dict(s=torch.empty(1, 2, 3, 129, device=DEVICE)), '129 dimensions'),
])
def test_unsupported(changes, reason):
    s, logits = torch.empty(1, 2, 3, 16, device=DEVICE), torch.empty(1, 2, 3, device=DEVICE)
    said = unsupported(**dict(dict(s=s, logits=logits), **changes))
    assert said is None if reason is None else reason in said


def test_custom_operators_are_well_formed():
    s, logits, grad = inputs(1, 2, 4, 5)
    torch.library.opcheck(torch.ops.mmwhitebox.dmsa, (*leaves(s, logits), 'st'))
    _, *kept = module._dmsa(s, logits, 'st')
    torch.library.opcheck(torch.ops.mmwhitebox.dmsa_backward, (grad, s, logits, *kept, 'st'))


def test_torch_compile():
    s, logits, grad = inputs(1, 2, 5, 8)
    compiled = torch.compile(lambda *x: 2 * dmsa(*x), fullgraph=True, backend='aot_eager')
    expected = outputs_and_gradients(lambda *x: 2 * dmsa(*x), (s, logits), grad)
    for got, want in zip(outputs_and_gradients(compiled, (s, logits), grad), expected):
        torch.testing.assert_close(got, want)


def test_kernels_compile_without_spills():
    kernels = compiled_kernels('''
import torch
from mmwhitebox.ops.dmsa.triton import _dmsa, _dmsa_backward
for dtype, heads, gate in ((torch.bfloat16, 6, 'st'), (torch.float32, 8, 'st'), (torch.float16, 3, 'gelu')):
    s = torch.empty(4, 197, heads, 64, dtype=dtype).transpose(1, 2)
    logits = torch.empty(4, 197, heads, dtype=dtype).transpose(1, 2)
    _dmsa_backward._init_fn(s, s, logits, *_dmsa._init_fn(s, logits, gate)[1:], gate)
''')
    assert [k['name'] for k in kernels] == 3 * [
        'moments_kernel', 'output_kernel', 'slope_kernel', 'gradient_kernel']
    assert all(k['stack'] == 0 and k['registers'] <= 128 for k in kernels), kernels
