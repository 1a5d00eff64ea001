"""ISTA with its fused epilogue against the naive form and float64; without a GPU in Triton's interpreter."""
import pytest
import torch

pytest.importorskip('triton')

from mmwhitebox.ops.ista.eager import ista as eager  # noqa: E402
from mmwhitebox.ops.ista.naive import ista as naive  # noqa: E402
from mmwhitebox.ops.ista.triton import ista, unsupported  # noqa: E402

from .fused import DEVICE, compare, leaves, nan_empty, outputs_and_gradients, saved_numbers  # noqa: E402
from .triton_compile import compiled_kernels  # noqa: E402

F32, BF16, F16 = torch.float32, torch.bfloat16, torch.float16


def inputs(shape, dtype=F32):
    """Tokens, a dictionary, and a gradient that is zero near the threshold, where rounding decides."""
    d = shape[-1]
    x, grad = torch.randn(2, *shape, device=DEVICE).to(dtype)
    weight = torch.randn(d, d, device=DEVICE) / d**0.5
    wide, dictionary = x.double(), weight.double()
    before = wide + 0.2 * (wide @ dictionary - wide @ dictionary.mT @ dictionary - 0.3)
    return x, weight, grad * (before.abs() > 0.02)


def step(op):
    return lambda x, weight: op(x, weight, eta=0.2, lam=0.3)


@pytest.mark.parametrize('shape, dtype', [
    ((1, 1, 1), F32),
    ((5, 16), F32),
    ((2, 63, 48), F32),
    ((3, 2, 5, 100), F32),
    ((2, 500, 16), BF16),
    ((1, 197, 64), BF16),
    ((2, 63, 100), F16),
    ((1, 5, 128), F16),
])
def test_as_exact_as_the_eager_form(shape, dtype):
    x, weight, grad = inputs(shape, dtype)
    compare(step(ista), step(eager), step(naive), (x, weight), grad)


def test_defaults_are_the_naive_forms():
    x, weight, _ = inputs((2, 9, 16))
    torch.testing.assert_close(ista(x, weight), naive(x, weight))


@pytest.mark.parametrize('dtype', [F32, BF16])
def test_autocast_narrows_the_product_alone(dtype):
    x, weight, grad = inputs((2, 9, 48), dtype)

    def under_autocast(op):
        def call(x, weight):
            with torch.autocast(DEVICE, BF16, enabled=x.dtype != torch.float64):
                return op(x, weight, eta=0.2, lam=0.3)
        return call

    compare(under_autocast(ista), under_autocast(eager), under_autocast(naive), (x, weight), grad)
    assert under_autocast(ista)(x, weight).dtype == dtype


def test_any_strides():
    x, weight, grad = inputs((2, 9, 16))
    expected = outputs_and_gradients(ista, (x, weight), grad)
    padded = torch.full((2, 11, 20), torch.nan, device=DEVICE)
    padded[:, 1:10, :16] = x
    for layout in (padded[:, 1:10, :16], x.mT.contiguous().mT):
        t, w = layout.detach().requires_grad_(), weight.clone().requires_grad_()
        y = ista(t, w)
        for got, want in zip((y, *torch.autograd.grad(y, (t, w), grad.mT.contiguous().mT)), expected):
            torch.testing.assert_close(got, want)
        got = torch.autograd.grad(ista(t, w).sum(), (t, w))  # the gradient of a sum has no strides at all
        for a, b in zip(got, torch.autograd.grad(naive(t, w).sum(), (t, w))):
            torch.testing.assert_close(a, b)


def test_a_frozen_dictionary():
    x, weight, grad = inputs((2, 9, 16))
    x, = leaves(x)
    dx, = torch.autograd.grad(ista(x, weight), x, grad)
    torch.testing.assert_close(dx, torch.autograd.grad(naive(x, weight), x, grad)[0])


def test_every_number_is_written(monkeypatch):
    x, weight, grad = inputs((1, 37, 60))  # 2,220 numbers: a whole block and part of one
    for dtype in (F32, BF16):
        expected = outputs_and_gradients(ista, (x.to(dtype), weight), grad)
        with monkeypatch.context() as patch:
            patch.setattr(torch, 'empty', nan_empty)
            patch.setattr(torch, 'empty_like', lambda t: torch.full_like(t, torch.nan))
            for got, want in zip(outputs_and_gradients(ista, (x.to(dtype), weight), grad), expected):
                assert torch.equal(got, want)


def test_nan_is_not_hidden():
    x, weight, _ = inputs((1, 3, 16))
    x[0, 1] = torch.nan
    assert ista(x, weight).isnan().any(-1).tolist() == [[False, True, False]]


def test_keeps_tokens_matrix_and_output():
    x, weight = leaves(*inputs((2, 40, 16))[:2])
    d = x.shape[-1]
    assert saved_numbers(ista, x, weight) == 2 * x.numel() + 2 * d * d  # x, y; M, and W for M's own gradient
    with torch.no_grad():
        assert ista(x, weight).grad_fn is None


@pytest.mark.parametrize('shape, dtype, device, reason', [
    ((2, 8, 16), BF16, DEVICE, None),
    ((2, 8, 16), torch.float64, DEVICE, 'float64'),
    ((3, 5, 16), F32, DEVICE, 'fewer tokens'),
    ((2, 8, 16), F32, 'meta', 'meta'),
])
def test_unsupported(shape, dtype, device, reason):
    said = unsupported(torch.empty(shape, dtype=dtype, device=device), torch.empty(16, 16, device=device))
    assert said is None if reason is None else reason in said


def test_a_compiler_gets_the_plain_form():
    x, weight, _ = inputs((2, 8, 16))
    assert unsupported(x, weight) is None
    compiled = torch.compile(lambda x, weight: x + (unsupported(x, weight) is not None), fullgraph=True,
                             backend='eager')
    assert torch.equal(compiled(x, weight), x + 1)


@pytest.mark.slow
def test_kernels_compile_without_spills():
    kernels = compiled_kernels('''
import torch
from mmwhitebox.ops.ista.triton import ista
for dtype in (torch.bfloat16, torch.float32):
    x = torch.empty(4, 197, 384, dtype=dtype, requires_grad=True)
    ista(x, torch.empty(384, 384)).sum().backward()
''')
    assert [k['name'] for k in kernels] == 2 * ['threshold_kernel', 'threshold_backward_kernel']
    assert all(k['stack'] == 0 and k['registers'] <= 64 for k in kernels), kernels
