"""Fused CBSA against the naive form and float64; without a GPU in Triton's interpreter."""
from collections import Counter
from functools import partial

import numpy as np
import pytest
import torch

pytest.importorskip('triton')

from torch.utils.flop_counter import FlopCounterMode  # noqa: E402
from triton.runtime import interpreter  # noqa: E402

from mmwhitebox.ops.cbsa import triton_backward as cbsa_backward
from mmwhitebox.ops.cbsa import triton_forward as cbsa_forward
from mmwhitebox.ops.cbsa.eager import cbsa as eager  # noqa: E402
from mmwhitebox.ops.cbsa.naive import cbsa as naive  # noqa: E402
from mmwhitebox.ops.cbsa.triton import cbsa, unsupported  # noqa: E402
from mmwhitebox.ops.kernels import launch  # noqa: E402

from .fused import DEVICE, error, leaves, on_a_gpu, outputs_and_gradients, saved_numbers  # noqa: E402
from .triton_compile import compiled_kernels  # noqa: E402

F32, BF16, F16 = torch.float32, torch.bfloat16, torch.float16
FORWARD = ('extract_kernel', 'merge_kernel', 'contract_kernel', 'broadcast_kernel')
BACKWARD = ('gather_kernel', 'sum_splits_kernel', 'contract_backward_kernel', 'tokens_kernel')


@pytest.fixture(autouse=True)
def round_to_nearest(monkeypatch):
    """The interpreter cuts float32 off to bfloat16; a GPU rounds to the nearest."""
    convert = interpreter._convert_float

    def rounded(x, source, target, mode):
        if (source.name, target.name) == ('fp32', 'bf16'):
            bits = x.view(np.uint32)
            return ((bits + 0x7fff + ((bits >> 16) & 1)) >> 16).astype(np.uint16)
        return convert(x, source, target, mode)

    monkeypatch.setattr(interpreter, '_convert_float', rounded)


@pytest.fixture
def poison(monkeypatch):
    """Uninitialised memory is NaN: what is read before it is written shows."""
    for name in ('empty', 'empty_like'):
        make = getattr(torch, name)
        monkeypatch.setattr(torch, name, lambda *args, make=make, **kwargs: make(*args, **kwargs).fill_(torch.nan))


@pytest.fixture
def launches(monkeypatch):
    """Number of launches of each kernel."""
    counts = Counter()

    class Counted:

        def __init__(self, kernel, name):
            self.kernel, self.name = kernel, name

        def __getitem__(self, grid):
            counts[self.name] += 1
            return self.kernel[grid]

    for module, names in ((cbsa_forward, FORWARD), (cbsa_backward, BACKWARD)):
        for name in names:
            monkeypatch.setattr(module, name, Counted(getattr(module, name), name))
    return counts


def inputs(batch, heads, tokens, dims, m, dtype=F32):
    """W and R0 as the head split leaves them, both steps, and a gradient."""
    w = torch.randn(batch, tokens, heads, dims, device=DEVICE).to(dtype).transpose(1, 2)
    r0 = torch.randn(batch, m, heads, dims, device=DEVICE).to(dtype).transpose(1, 2)
    steps = torch.randn(2, heads, 1, 1, device=DEVICE)
    return (w, r0, *steps), torch.randn(batch, heads, tokens, dims, device=DEVICE).to(dtype)


def compare(contraction, tensors, grad):
    """Output and every gradient against the naive form and float64, in the norm and at the largest entry.

    Errors are at most 1e-5 in float32 and one unit of the last place in 16 bits, or twice the eager form's own; of the
    steps' gradients, one number a head in which terms of either sign cancel, eight times as much.
    """
    floor = 1e-5 if tensors[0].dtype == F32 else torch.finfo(tensors[0].dtype).eps
    forms = [partial(form, contraction=contraction) for form in (cbsa, eager, naive)]
    results = [outputs_and_gradients(form, tensors, grad, dtype)
               for form, dtype in zip(forms, (None, None, torch.float64))]
    for name, got, want, exact in zip(('output', 'w', 'r0', 'step_rep', 'step_x'), *results, strict=True):
        assert got.dtype == want.dtype and got.shape == want.shape, name
        slack = 8 if 'step' in name else 1
        for norm in (2, torch.inf):
            limit = slack * max(floor, 2 * error(want, exact, norm))
            assert error(got, exact, norm) <= limit, f'{name}, norm {norm}: {error(got, exact, norm)} > {limit}'


def skip_unless_taken(tensors):
    reason = unsupported(*tensors)
    if reason is not None:
        pytest.skip(f'the kernels do not take this here: {reason}')


@pytest.mark.parametrize('batch, heads, tokens, dims, m, dtype, contraction', [
    (1, 5, 1, 48, 9, F32, 'softmax'),
    (2, 1, 5, 16, 1, F32, 'softmax'),
    on_a_gpu(1, 3, 63, 64, 64, F32, 'softmax'),
    (1, 1, 33, 100, 100, F32, 'softmax'),
    on_a_gpu(1, 1, 63, 100, 100, F32, 'softmax'),
    on_a_gpu(1, 1, 33, 128, 128, F32, 'softmax'),
    (2, 2, 20, 8, 4, F32, 'softmax'),
    on_a_gpu(1, 1, 500, 16, 9, F32, 'softmax'),
    (1, 1, 70, 48, 64, F32, None),
    (1, 1, 63, 64, 64, BF16, 'softmax'),
    on_a_gpu(1, 3, 63, 64, 64, BF16, 'softmax'),
    on_a_gpu(1, 1, 100, 100, 100, BF16, 'softmax'),
    (1, 1, 250, 16, 9, BF16, 'softmax'),
    (1, 2, 5, 48, 9, BF16, None),
    on_a_gpu(1, 5, 5, 48, 9, BF16, None),
    (1, 1, 63, 128, 128, F16, 'softmax'),
    on_a_gpu(1, 1, 197, 48, 64, F16, 'softmax'),
    (1, 1, 150, 16, 1, F16, None),
])
def test_as_exact_as_the_eager_form(batch, heads, tokens, dims, m, dtype, contraction, poison):
    tensors, grad = inputs(batch, heads, tokens, dims, m, dtype)
    skip_unless_taken(tensors)
    compare(contraction, tensors, grad)


def test_any_strides():
    (w, r0, *steps), grad = inputs(2, 1, 9, 16, 4)
    expected = outputs_and_gradients(cbsa, (w, r0, *steps), grad)
    padded = torch.full((2, 11, 16 + 4), torch.nan, device=DEVICE)
    padded[:, 1:10, :16] = w.transpose(1, 2).flatten(2)
    layouts = dict(
        contiguous=w.contiguous(),
        slice=padded[:, 1:10, :16].unflatten(-1, (1, 16)).transpose(1, 2),
        channels_first=w.mT.contiguous().mT)
    for layout in layouts.values():
        x, r, *s = layout.detach().requires_grad_(), *leaves(r0.mT.contiguous().mT, *steps)
        out = cbsa(x, r, *s)
        assert out.stride(-1) == 1
        got = (out, *torch.autograd.grad(out, (x, r, *s), grad.mT.contiguous().mT))
        for value, want in zip(got, expected, strict=True):
            torch.testing.assert_close(value, want, rtol=1e-5, atol=1e-6)


def test_expanded_tensors_and_gradients():
    (w, r0, *steps), _ = inputs(1, 1, 9, 16, 4)
    w, r0 = w.expand(1, 2, 9, 16), r0.expand(1, 2, 4, 16)
    steps = [s.expand(2, 1, 1) for s in steps]
    x, y = (leaves(w, r0, *steps) for _ in range(2))
    for op, tensors in ((cbsa, x), (naive, y)):
        op(tensors[0].expand_as(w), *tensors[1:]).sum().backward()  # the gradient of a sum has no strides at all
    torch.testing.assert_close(cbsa(w, r0, *steps), naive(w, r0, *steps), rtol=1e-4, atol=1e-5)
    for a, b in zip(x, y, strict=True):
        torch.testing.assert_close(a.grad, b.grad, rtol=1e-4, atol=1e-5)


def test_the_output_has_the_layout_of_the_tokens():
    """So that the heads are merged without a copy."""
    (w, *rest), _ = inputs(2, 3, 9, 16, 4)
    out = cbsa(w, *rest)
    assert out.transpose(1, 2).is_contiguous()


def test_large_scores_do_not_overflow(poison):
    """Scores of thousands, of both signs; some rows lie far below zero, where a missing token would not."""
    (w, r0, *steps), grad = inputs(1, 1, 70, 16, 5)
    w = 10 * w + 50
    r0 = torch.cat([20 * r0[:, :, :2], -20 * r0[:, :, 2:].abs()], 2)
    scores = (r0 @ w.mT) / 4
    assert scores.abs().max() > 3e3 and (scores.max(-1)[0] < -1e3).any()
    compare('softmax', (w, r0, *steps), grad)


def test_small_coefficients_survive_float16():
    """One token of 2048 has 99 % of the mass; the others' 5e-6, below float16's normal range, keep their digits."""
    w = torch.randn(1, 1, 2048, 16, device=DEVICE)
    w[..., 0] = 0
    w[:, :, 0, 0] = 4.875
    r0 = torch.zeros(1, 1, 1, 16, device=DEVICE)
    r0[..., 0] = 10
    w, r0 = w.to(F16), r0.to(F16)
    steps = torch.zeros(1, 1, 1, device=DEVICE), torch.full((1, 1, 1), 1000., device=DEVICE)
    others = cbsa(w, r0, *steps)[:, :, 1:].double()
    exact = naive(*(t.double() for t in (w, r0, *steps)))[:, :, 1:]
    assert exact.abs().max() < 1e4 * 6e-6
    assert error(others, exact, 2) < 1e-3


@pytest.mark.parametrize('splits', [1, 3, 8])
def test_every_kernel_runs_and_splits_agree(splits, launches, monkeypatch):
    """Also a last split of one token, and each sum over splits is taken."""
    tensors, grad = inputs(1, 1, 449, 16, 9)
    exact = outputs_and_gradients(naive, tensors, grad, torch.float64)
    per_split = -(-449 // (splits * 64)) * 64
    for module in (cbsa_forward, cbsa_backward):
        monkeypatch.setattr(module, 'split_tokens', lambda *_: (splits, per_split))
    for got, want in zip(outputs_and_gradients(cbsa, tensors, grad), exact, strict=True):
        assert (got.double() - want).norm() < 1e-5 * want.norm()
    assert launches == dict(
        extract_kernel=1, contract_kernel=1, broadcast_kernel=1, gather_kernel=1, contract_backward_kernel=1,
        tokens_kernel=1, sum_splits_kernel=1 + (splits > 1), **(dict(merge_kernel=1) if splits > 1 else {}))


def test_repeats_to_the_bit():
    tensors, grad = inputs(1, 1, 130, 16, 9, BF16)
    for a, b in zip(outputs_and_gradients(cbsa, tensors, grad), outputs_and_gradients(cbsa, tensors, grad)):
        assert torch.equal(a, b)


def test_keeps_no_coefficients():
    (w, r0, *steps), _ = inputs(1, 2, 200, 16, 9)
    kept = saved_numbers(cbsa, *leaves(w, r0, *steps))
    assert kept == w.numel() + 2 * r0.numel() + 2 * 9 + 2 * 2  # W, R0 and AW, lse, both steps


def test_under_autocast():
    (w, r0, *steps), grad = inputs(1, 2, 40, 16, 9)
    half = w.to(BF16), r0.to(BF16)
    with torch.autocast(DEVICE, BF16):
        out, *grads = outputs_and_gradients(cbsa, (w, r0, *steps), grad.to(BF16).float())
    expected, *_ = outputs_and_gradients(cbsa, (*half, *steps), grad.to(BF16))
    assert out.dtype == F32 and torch.equal(out, expected.float())
    assert all(g.dtype == F32 for g in grads)


def test_steps_in_half_precision():
    """A model cast as a whole has steps of its type."""
    (w, r0, *steps), grad = inputs(1, 2, 40, 16, 9, BF16)
    steps = [s.to(BF16) for s in steps]
    got = outputs_and_gradients(cbsa, (w, r0, *steps), grad)
    want = outputs_and_gradients(cbsa, (w, r0, *(s.float() for s in steps)), grad)
    for a, b in zip(got, want, strict=True):
        assert a.dtype == BF16
        torch.testing.assert_close(a, b.to(BF16))


@pytest.mark.parametrize('change, reason', [
    (dict(w=torch.zeros(1, 2, 6, 16, dtype=torch.float64)), 'float64'),
    (dict(w=torch.zeros(1, 2, 6, 16, dtype=BF16)), 'several types'),
    (dict(w=torch.zeros(1, 2, 6, 129), r0=torch.zeros(1, 2, 4, 129)), '4 representatives of 129 dimensions'),
    (dict(r0=torch.zeros(1, 2, 144, 16)), '144 representatives of 16 dimensions'),
    (dict(r0=torch.zeros(1, 1, 4, 16)), 'W and R0'),
    (dict(w=torch.zeros(1, 2, 0, 16)), 'nothing to compute'),
    (dict(step_x=torch.zeros(1)), 'step sizes'),
    (dict(contraction='inverse'), "'inverse'"),
    (dict(), None),
])
def test_says_what_it_does_not_take(change, reason):
    call = dict(w=torch.zeros(1, 2, 6, 16), r0=torch.zeros(1, 2, 4, 16), step_rep=torch.zeros(2, 1, 1),
                step_x=torch.zeros(2, 1, 1)) | change
    call = {k: v.to(DEVICE) if isinstance(v, torch.Tensor) else v for k, v in call.items()}
    said = unsupported(**call)
    assert said is None if reason is None else reason in said


def test_takes_no_cpu_tensors_outside_the_interpreter(monkeypatch):
    monkeypatch.setattr(launch, 'INTERPRETED', False)
    cpu = torch.zeros(1, 2, 6, 16), torch.zeros(1, 2, 4, 16), torch.zeros(2, 1, 1), torch.zeros(2, 1, 1)
    assert "'cpu'" in unsupported(*cpu)


def test_float32_products_follow_torch():
    assert launch.dot_precision(F32) == 'bf16x6' and launch.dot_precision(BF16) == 'ieee'
    torch.set_float32_matmul_precision('high')
    try:
        assert launch.dot_precision(F32) == 'tf32'
    finally:
        torch.set_float32_matmul_precision('highest')


@pytest.mark.parametrize('tokens, programs', [(1, 1), (197, 3), (65536, 1), (65536, 4096), (1000, 7)])
def test_splits_hold_every_token_once(tokens, programs):
    splits, per_split = launch.split_tokens(tokens, 64, programs, torch.device('cpu'))
    assert per_split % 64 == 0 and (splits - 1) * per_split < tokens <= splits * per_split
    assert splits == 1 or splits * programs <= 4 * launch.num_processors(torch.device('cpu')) + programs


def test_is_a_well_formed_custom_operator():
    (w, r0, *steps), _ = inputs(1, 1, 7, 16, 3)
    forward, backward = torch.ops.mmwhitebox.cbsa_forward, torch.ops.mmwhitebox.cbsa_backward
    torch.library.opcheck(forward, (*leaves(w, r0, *steps), True))
    _, aw, lse = forward(w, r0, *steps, True)
    torch.library.opcheck(backward, (torch.ones_like(w), w, r0, *steps, aw, lse, True))


def test_torch_compile_keeps_it_whole():
    tensors, grad = inputs(1, 2, 20, 16, 4)
    compiled = torch.compile(cbsa, fullgraph=True, backend='aot_eager')
    for a, b in zip(outputs_and_gradients(compiled, tensors, grad), outputs_and_gradients(cbsa, tensors, grad)):
        torch.testing.assert_close(a, b)


def test_its_flops_are_those_of_the_products():
    (w, r0, *steps), grad = inputs(1, 2, 20, 16, 4)
    tensors = leaves(w, r0, *steps)
    with FlopCounterMode(display=False) as counter:
        out = cbsa(*tensors)
        forward = counter.get_total_flops()
        out.backward(grad)
    assert forward == 2 * 2 * 4 * 16 * (3 * 20 + 2 * 4)
    assert counter.get_total_flops() == 3 * forward


@pytest.mark.slow
def test_compiles_for_a_gpu_without_spills():
    """All kernels at the encoders' size in 16 bits, and the largest of them at the decoder's."""
    code = '''
import torch
from mmwhitebox.ops.cbsa import triton_backward as cbsa_backward
from mmwhitebox.ops.cbsa.triton_forward import forward

def run(heads, p, m):
    w = torch.zeros(2, 4096, heads, p, dtype=torch.bfloat16).transpose(1, 2)
    r0 = torch.zeros(2, heads, m, p, dtype=torch.bfloat16)
    steps = torch.ones(heads, 1, 1), torch.ones(heads, 1, 1)
    if m == 64:
        forward(w, r0, *steps, True)
    aw, lse = torch.zeros(2, heads, m, p), torch.zeros(2, heads, m)
    cbsa_backward.backward(w, w, r0, *steps, aw, lse, True)

class Skipped:
    def __getitem__(self, grid):
        return lambda *args, **kwargs: None

run(3, 64, 64)
for name in ('gather_kernel', 'sum_splits_kernel', 'contract_backward_kernel'):
    setattr(cbsa_backward, name, Skipped())
run(3, 100, 100)
'''
    *encoder, decoder = compiled_kernels(code)
    assert [k['name'] for k in encoder] == [
        *FORWARD, 'gather_kernel', 'sum_splits_kernel', 'contract_backward_kernel', 'tokens_kernel',
        'sum_splits_kernel'
    ]
    for kernel in encoder:
        assert kernel['stack'] == 0 and kernel['shared'] <= 80 * 1024, kernel
    assert decoder['name'] == 'tokens_kernel'
    assert decoder['stack'] == 0 and decoder['shared'] <= 160 * 1024, decoder
