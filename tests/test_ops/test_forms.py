"""Forms by name: what there is not is refused, and compiled derivatives of torch.func are those of the equation."""
import inspect
from contextlib import nullcontext

import pytest
import torch

from mmwhitebox import ops
from mmwhitebox.ops.dispatch import recompute_contexts


@pytest.fixture
def w():
    torch.manual_seed(0)
    return torch.randn(1, 2, 12, 4, dtype=torch.float64)


TEMP = torch.tensor([[1.5], [0.7]], dtype=torch.float64)
R0 = torch.randn(1, 2, 4, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
STEP = torch.full((2, 1, 1), 0.8, dtype=torch.float64)
FUNCTIONS = dict(
    tssa=lambda w, **kw: ops.tssa(w, TEMP, **kw),
    cbsa=lambda w, **kw: ops.cbsa(w, R0, STEP, STEP, **kw),
    dmsa=lambda w, **kw: ops.dmsa(w, w.sum(-1), **kw),
    sparsemax=lambda w, **kw: ops.sparsemax(w, -1, **kw),
    mssa=lambda w, **kw: ops.mssa(w, **kw))


WITH_FORMS = sorted(name for name in ops.__all__ if 'impl' in inspect.signature(getattr(ops, name)).parameters)


@pytest.mark.parametrize('name', WITH_FORMS)
def test_a_form_that_there_is_not_is_refused_by_every_operator(name, w):
    logits, flat = w.sum(-1), w.transpose(1, 2).flatten(2)
    args = dict(
        adaptive_avg_pool=(w, 2), agent_attention=(w, w, w, R0), cbsa=(w, R0, STEP, STEP),
        dmsa=(w, logits), dmsa_gate=(logits, ), dmsa_membership=(logits, 'st_tokens'), ista=(w, torch.eye(4).double()),
        msca=(R0, w), odl=(w, *torch.ones(2, 4, 8).double()), pool_representatives=(flat, (3, 4), 2, 2),
        relu_linear_attention=(w, w, w),
        rope_2d=(flat, (3, 4)),
        softmax_attention=(w, w, w), sparsemax=(w, -1), tssa=(w, TEMP)).get(name, (w, ))
    getattr(ops, name)(*args)
    with pytest.raises(ValueError, match="impl must be one of .*'naive'.*got 'niave'"):
        getattr(ops, name)(*args, impl='niave')


@pytest.mark.parametrize('impl', ['naive', 'torch'])
@pytest.mark.parametrize('argument', ['membership_act', 'gate_act'])
def test_an_activation_that_there_is_not_is_refused(impl, argument, w):
    with pytest.raises(ValueError, match=f"{argument} must be one of .*'sofmax'"):
        ops.dmsa(w, w.sum(-1), impl=impl, **{argument: 'sofmax'})


@pytest.mark.parametrize('impl', ['naive', 'torch'])
def test_a_contraction_that_there_is_not_is_refused(impl, w):
    with pytest.raises(ValueError, match="contraction must be one of .*'sofmax'"):
        ops.cbsa(w, R0, STEP, STEP, 'sofmax', impl=impl)


def second(function):
    """Gradient of the norm of the gradient."""
    return torch.func.grad(lambda w: torch.func.grad(lambda x: function(x).sin().sum())(w).norm())


@pytest.mark.parametrize('name', ['tssa', 'cbsa', 'sparsemax'])
def test_a_compiled_gradient_of_a_gradient(name, w):
    function = FUNCTIONS[name]
    torch._dynamo.reset()
    got = torch.compile(second(function), backend='eager')(w)
    torch.testing.assert_close(got, second(lambda x: function(x, impl='naive'))(w))
    assert got.norm() > 0


@pytest.mark.parametrize('name', ['tssa', 'dmsa'])
def test_a_compiled_forward_mode_derivative(name, w):
    function, step = FUNCTIONS[name], torch.ones_like(w)
    torch._dynamo.reset()
    got = torch.compile(lambda x, v: torch.func.jvp(function, (x, ), (v, ))[1], backend='eager')(w, step)
    differences = (function(w + 1e-6 * step) - function(w - 1e-6 * step)) / 2e-6
    torch.testing.assert_close(got, differences, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize('name', ['tssa', 'cbsa'])
def test_the_refusal_names_the_operator(name, w):
    with pytest.raises(RuntimeError, match=f'^{name}: the fast forms have one derivative'):
        second(FUNCTIONS[name])(w)


@pytest.mark.parametrize('form, fused, written_out', [
    ('naive', False, True), ('naive', True, False), ('torch', False, False)])
def test_softmax_is_written_out_unless_it_is_left_fused(form, fused, written_out, w):
    """Of the operators and of other libraries; also in what is recomputed after the block."""
    def made(context):
        with context, torch.profiler.profile() as seen:
            ops.mssa(w), torch.nn.functional.scaled_dot_product_attention(w, w, w)
        return sum(event.count for event in seen.key_averages() if event.key == 'aten::_softmax')

    w.requires_grad_()
    with ops.use('naive'), ops.use(form, as_published=fused):
        recomputed = recompute_contexts()[1]
        assert made(nullcontext()) == 2 * written_out
        tssa = ops.tssa(w, TEMP)
    assert made(recomputed) == 2 * written_out
    assert made(ops.use('naive')) == 2 and made(nullcontext()) == 0
    assert ('TSSA' in type(tssa.grad_fn).__name__) == (form == 'torch')
