"""'auto' takes a kernel after it has agreed with the equation; in Triton's interpreter without a GPU."""
import math

import pytest
import torch
from torch import nn

pytest.importorskip('triton')

from mmwhitebox import ops  # noqa: E402
from mmwhitebox.models.attention import CBSA, TSSA  # noqa: E402
from mmwhitebox.ops import comparison, dispatch, self_check  # noqa: E402
from mmwhitebox.ops.kernels import launch  # noqa: E402
from mmwhitebox.ops.tssa import operator  # noqa: E402
from mmwhitebox.ops.tssa import triton as kernels  # noqa: E402

from .fused import DEVICE  # noqa: E402

if not (launch.INTERPRETED or torch.cuda.is_available()):
    pytest.skip('needs a GPU, or TRITON_INTERPRET=1 before triton is imported', allow_module_level=True)


@pytest.fixture(autouse=True)
def as_on_a_gpu(monkeypatch):
    """'auto' asks for kernels here too; nothing was checked or said before."""
    monkeypatch.setattr(dispatch, 'may_be_fused', lambda x: True)
    monkeypatch.setattr(comparison, '_verdicts', {})
    monkeypatch.setattr(dispatch, '_said', set())
    if DEVICE == 'cpu':  # the interpreter is slow
        monkeypatch.setattr(comparison, 'SIZES', dict(heads=2, dims=16, representatives=9, tokens=35))


@pytest.fixture
def launches(monkeypatch):
    calls, output = [], kernels.moments.output
    monkeypatch.setattr(kernels.moments, 'output', lambda *args: calls.append(1) or output(*args))
    return calls


@pytest.fixture
def broken(monkeypatch):
    """A backward kernel that is wrong in a single number."""
    slope = kernels.moments.slope

    def wrong(*args):
        out = slope(*args)
        out[0, 0, 0] += 10 * out.abs().max()
        return out

    monkeypatch.setattr(kernels.moments, 'slope', wrong)


def lines(caplog):
    return [r.getMessage() for r in caplog.records if r.name == 'mmwhitebox.ops']


def test_the_kernels_agree_in_every_type():
    found = self_check.compare_kernels(DEVICE)
    assert [(c.operator, c.dtype) for c in found] == [
        (op, dtype) for op in ('cbsa', 'tssa', 'dmsa', 'ista') for dtype in launch.DTYPES]
    for c in found:
        assert c.agrees and c.reason == '' and c.device.type == DEVICE and c.seconds > 0
        assert max(c.output_error, *c.gradient_errors.values()) < c.tolerance / 2, c
    assert set(found[0].gradient_errors) == {'w', 'r0', 'step_rep', 'step_x'}


def test_a_kernel_is_taken_after_one_comparison(launches, caplog):
    w, temp = torch.randn(1, 2, 5, 16, device=DEVICE), torch.ones(2, 1, device=DEVICE)
    for _ in range(2):
        torch.testing.assert_close(ops.tssa(w, temp), ops.tssa(w, temp, impl='torch'))
    assert len(launches) == 3 and len(comparison._verdicts) == 1 and not lines(caplog)
    ops.tssa(w.bfloat16(), temp)
    assert len(launches) == 5 and len(comparison._verdicts) == 2


def test_a_broken_kernel_is_refused_with_one_line(broken, launches, caplog):
    module, x = TSSA(16, 2).to(DEVICE), torch.randn(1, 9, 16, device=DEVICE)
    for _ in range(2):
        got = torch.autograd.grad(module(x, (3, 3)).sum(), list(module.parameters()))
    assert len(launches) == 1  # in the comparison
    with ops.use('torch'):
        expected = torch.autograd.grad(module(x, (3, 3)).sum(), list(module.parameters()))
    torch.testing.assert_close(got, expected, rtol=0, atol=0)
    line, = lines(caplog)
    assert 'tssa runs in its eager form, not fused: its kernels disagree with the equation' in line
    assert 'float32: gradient of w off by' in line
    bad = comparison.compare(operator, torch.device(DEVICE), torch.float32)
    assert not bad.agrees and bad.gradient_errors['w'] > 1 and bad.output_error < 1e-4


def test_a_kernel_that_fails_or_gives_nan_is_refused(monkeypatch, caplog):
    def fail(*args):
        raise RuntimeError('no kernel image is available\nfor execution')

    w, temp = torch.randn(1, 2, 5, 16, device=DEVICE), torch.ones(2, 1, device=DEVICE)
    monkeypatch.setattr(kernels.moments, 'output', fail)
    torch.testing.assert_close(ops.tssa(w, temp), ops.tssa(w, temp, impl='torch'))
    assert 'they fail (RuntimeError: no kernel image is available for execution)' in lines(caplog)[0]
    assert math.isnan(comparison.compare(operator, torch.device(DEVICE), torch.float32).output_error)
    monkeypatch.setattr(kernels.moments, 'output', lambda s, *args: torch.full_like(s, torch.nan))
    assert comparison.compare(operator, torch.device(DEVICE), torch.float32).output_error == math.inf


def test_an_explicit_triton_is_not_checked(broken):
    w, temp = torch.randn(1, 2, 5, 16, device=DEVICE), torch.ones(2, 1, device=DEVICE)
    ops.tssa(w, temp, impl='triton')
    assert not comparison._verdicts


@pytest.mark.parametrize('context', [
    torch.inference_mode, torch.no_grad, lambda: torch.autocast(DEVICE, torch.bfloat16),
    lambda: torch.autograd.graph.saved_tensors_hooks(lambda x: 1 / 0, lambda x: x)])
def test_the_state_of_the_caller_is_left_alone(context, caplog):
    w, temp = torch.randn(1, 2, 5, 16, device=DEVICE), torch.ones(2, 1, device=DEVICE)
    before, random = torch.is_grad_enabled(), torch.get_rng_state()
    with context():
        ops.tssa(w, temp)
        assert comparison._verdicts and all(c.agrees for c in comparison._verdicts.values())
    assert torch.is_grad_enabled() == before and torch.equal(torch.get_rng_state(), random)
    assert not lines(caplog)


def test_torch_compile_checks_as_it_traces(launches):
    module, x = CBSA(32, 2, pool_size=2).to(DEVICE), torch.randn(1, 9, 32, device=DEVICE)
    compiled = torch.compile(module, fullgraph=True, backend='aot_eager')
    out = compiled(x, (3, 3))
    assert [c.operator for c in comparison._verdicts.values()] == ['cbsa']
    torch.testing.assert_close(out, module(x, (3, 3)), rtol=1e-4, atol=1e-5)


class Attention(nn.Module):

    def __init__(self):
        super().__init__()
        self.attention = CBSA(32, 2, pool_size=2)

    def forward(self, x):
        return self.attention(x, (3, 3))


def test_an_export_checks_nothing():
    torch.export.export(Attention().to(DEVICE).requires_grad_(False), (torch.randn(1, 9, 32, device=DEVICE), ))
    assert not comparison._verdicts
