"""Fused TSSA against the naive form and float64; without a GPU in Triton's interpreter."""
import pytest
import torch

pytest.importorskip('triton')

from mmwhitebox.ops.kernels import launch, moments  # noqa: E402
from mmwhitebox.ops.tssa import triton as module  # noqa: E402
from mmwhitebox.ops.tssa.eager import tssa as eager  # noqa: E402
from mmwhitebox.ops.tssa.naive import tssa as naive  # noqa: E402
from mmwhitebox.ops.tssa.triton import tssa, unsupported  # noqa: E402

from .fused import DEVICE, compare, leaves, nan_empty, on_a_gpu, outputs_and_gradients, saved_numbers  # noqa: E402
from .triton_compile import compiled_kernels  # noqa: E402

F32, BF16, F16 = torch.float32, torch.bfloat16, torch.float16


def inputs(batch, heads, tokens, dims, dtype=F32):
    """W, laid out in memory as the head split leaves it, temperatures, and a gradient."""
    w = torch.randn(batch, tokens, heads, dims, device=DEVICE).to(dtype).transpose(1, 2)
    temp = torch.linspace(0.5, 8, heads, device=DEVICE)[:, None]
    return w, temp, torch.randn(batch, heads, tokens, dims, device=DEVICE).to(dtype)


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
    w, temp, grad = inputs(batch, heads, tokens, dims, dtype)
    compare(tssa, eager, naive, (w, temp), grad)


def test_any_strides():
    w, temp, grad = inputs(2, 3, 9, 16)
    expected = outputs_and_gradients(tssa, (w, temp), grad)
    padded = torch.full((2, 11, 3 * 16 + 4), torch.nan, device=DEVICE)
    padded[:, 1:10, :48] = w.transpose(1, 2).flatten(2)
    layouts = dict(
        contiguous=w.contiguous(),
        slice=padded[:, 1:10, :48].unflatten(-1, (3, 16)).transpose(1, 2),
        channels_first=w.mT.contiguous().mT)
    for name, layout in layouts.items():
        x, t = leaves(temp, temp)
        x = layout.requires_grad_() if name != 'slice' else layout.detach().requires_grad_()
        out = tssa(x, t)
        dw, dt = torch.autograd.grad(out, (x, t), grad.mT.contiguous().mT)
        for got, want in zip((out, dw, dt), expected):
            torch.testing.assert_close(got, want, rtol=1e-6, atol=1e-7)
        dw, = torch.autograd.grad(tssa(x, t).sum(), x)  # the gradient of a sum has no strides at all
        torch.testing.assert_close(dw, torch.autograd.grad(naive(x, t).sum(), x)[0], rtol=1e-4, atol=1e-5)


def test_heads_merge_without_a_copy():
    w, temp, _ = inputs(2, 3, 9, 16)
    assert tssa(w, temp).transpose(1, 2).is_contiguous()


def test_every_number_is_written(monkeypatch):
    w, temp, grad = inputs(2, 3, 21, 10)
    expected = outputs_and_gradients(tssa, (w, temp), grad)
    monkeypatch.setattr(torch, 'empty', nan_empty)
    for got, want in zip(outputs_and_gradients(tssa, (w, temp), grad), expected):
        assert torch.equal(got, want)


def test_splits_of_the_tokens(monkeypatch):
    """A long row of tokens is split over programs: the same result, and the same to the bit in every run."""
    w, temp, grad = inputs(1, 3, 20, 16)
    monkeypatch.setattr(moments, 'TILE_BYTES', 2048)
    monkeypatch.setattr(moments, 'TILES', 1)
    results = {}
    for processors in (0, 1, 1000):
        monkeypatch.setattr(launch, 'num_processors', lambda device, n=processors: n)
        splits = moments.plan(w, w, w).splits
        results[splits] = outputs_and_gradients(tssa, (w, temp), grad)
    for a, b in zip(results[splits], outputs_and_gradients(tssa, (w, temp), grad)):
        assert torch.equal(a, b)
    assert min(results) == 1 and max(results) > 4 and len(results) == 3
    one, *others = results.values()
    for other in others:
        for a, b in zip(other, one):
            torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)


def test_channels_without_energy():
    """A zero channel stays zero; the gradient of the norm stops where the clamp acts."""
    w, temp, grad = inputs(1, 2, 6, 16)
    w[..., 0] = 0
    w[..., 1] *= 1e-13
    got = outputs_and_gradients(tssa, (w, temp), grad)
    for a, b in zip(got, outputs_and_gradients(eager, (w, temp), grad)):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)
    assert (got[0][..., 0] == 0).all()


def test_the_clamp_has_a_gradient_of_its_own():
    """Energies of a clamped channel are not normalised: they and their gradients go to zero with it."""
    w, temp, grad = inputs(1, 2, 4, 1)
    w *= 1e-13
    grad *= 1e13  # the gradient through the membership is not lost in that of the output
    compare(tssa, eager, naive, (w, temp), grad)


def test_keeps_tokens_membership_and_statistics():
    batch, heads, tokens, dims = 2, 3, 40, 16
    w, temp = leaves(*inputs(batch, heads, tokens, dims)[:2])
    statistics = batch * heads * (2 * dims + 1)
    assert saved_numbers(tssa, w, temp) == w.numel() + heads + batch * heads * tokens + statistics
    with torch.no_grad():
        assert tssa(w, temp).grad_fn is None


def test_autocast_changes_nothing():
    w, temp, _ = inputs(1, 3, 9, 16)
    with torch.autocast(DEVICE, BF16):
        out = tssa(w, temp)
    assert torch.equal(out, tssa(w, temp))


def test_half_precision_temperatures():
    w, temp, grad = inputs(1, 3, 9, 16, BF16)
    out, dw, dtemp = outputs_and_gradients(tssa, (w, temp.bfloat16()), grad)
    assert out.dtype == dw.dtype == dtemp.dtype == BF16
    torch.testing.assert_close(out, tssa(w, temp.bfloat16().float()))


@pytest.mark.parametrize('shape, dtype, device, reason', [
    ((1, 2, 3, 16), torch.float64, DEVICE, 'float64'),
    ((1, 2, 3, 129), F32, DEVICE, '129 dimensions'),
    ((1, 129, 3, 64), F32, DEVICE, '129 heads'),
    ((1, 2, 0, 16), F32, DEVICE, 'no tokens'),
    ((1, 2, 3, 16), F32, 'meta', 'meta'),
    ((1, 2, 3, 16), BF16, DEVICE, None),
])
def test_unsupported(shape, dtype, device, reason):
    w, temp = torch.empty(shape, dtype=dtype, device=device), torch.ones(shape[1], 1, device=device)
    said = unsupported(w, temp)
    assert said is None if reason is None else reason in said


def test_unsupported_temperatures():
    temp = torch.ones(2, 1, dtype=torch.float64, device=DEVICE)
    assert 'float64' in unsupported(torch.empty(1, 2, 3, 16, device=DEVICE), temp)


def test_custom_operators_are_well_formed():
    w, temp, grad = inputs(1, 2, 4, 5)
    torch.library.opcheck(torch.ops.mmwhitebox.tssa, tuple(leaves(w, temp)))
    _, *kept = module._tssa(w, temp)
    torch.library.opcheck(torch.ops.mmwhitebox.tssa_backward, (grad, w, temp, *kept))


def test_torch_compile():
    w, temp, grad = inputs(1, 2, 5, 8)
    compiled = torch.compile(lambda w, temp: 2 * tssa(w, temp), fullgraph=True, backend='aot_eager')
    expected = outputs_and_gradients(lambda w, temp: 2 * tssa(w, temp), (w, temp), grad)
    for got, want in zip(outputs_and_gradients(compiled, (w, temp), grad), expected):
        torch.testing.assert_close(got, want)


@pytest.mark.slow
def test_kernels_compile_without_spills():
    kernels = compiled_kernels('''
import torch
from mmwhitebox.ops.tssa.triton import _tssa, _tssa_backward
for dtype, heads in ((torch.bfloat16, 6), (torch.float32, 8)):
    w = torch.empty(4, 197, heads, 64, dtype=dtype).transpose(1, 2)
    temp = torch.ones(heads, 1)
    _tssa_backward._init_fn(w, w, temp, *_tssa._init_fn(w, temp)[1:])
''')
    assert [k['name'] for k in kernels] == 2 * [
        'norms_kernel', 'membership_kernel', 'output_kernel', 'slope_kernel', 'energy_gradient_kernel',
        'token_gradient_kernel']
    assert all(k['stack'] == 0 and k['registers'] <= 128 for k in kernels), kernels
