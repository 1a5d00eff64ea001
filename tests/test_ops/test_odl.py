"""ODL: four products against its definition."""
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from mmwhitebox.models.feedforward import ODL
from mmwhitebox.ops import odl
from mmwhitebox.ops.odl import naive
from mmwhitebox.ops.saved import saved_storages

D, R = 24, 4


def dictionaries(dtype=torch.float32):
    return [t.detach().to(dtype) for t in ODL(D, R).parameters()]


def definition(x, d, d1, eta=0.1, lam=0.1):
    """Two steps of ISTA from a code of zero, each written out, in the type of its inputs."""
    z = x.new_zeros(*x.shape[:-1], d.shape[1])
    for _ in range(2):
        z = torch.relu(z - eta * (z @ d.t() - x) @ d - eta * lam)
    return z @ d1.t()


def test_both_forms_are_two_proximal_steps_from_zero():
    x, (d, d1) = torch.randn(2, 9, D, dtype=torch.float64), dictionaries(torch.float64)
    for options in ((), (0.3, 0.2)):
        expected = definition(x, d, d1, *options)
        assert 0.05 < (expected != 0).double().mean()
        for form in (odl, naive.odl):
            torch.testing.assert_close(form(x, d, d1, *options), expected, rtol=1e-12, atol=1e-12)


def test_a_step_goes_down_the_gradient_of_the_reconstruction():
    """From the code z1, by autograd of 1/2 |x - D z|^2."""
    x, (d, d1) = torch.randn(7, D, dtype=torch.float64), dictionaries(torch.float64)
    z = torch.relu(0.1 * x @ d - 0.01).requires_grad_()
    (0.5 * (x - z @ d.t()).square().sum()).backward()
    expected = torch.relu(z.detach() - 0.1 * z.grad - 0.01) @ d1.t()
    torch.testing.assert_close(odl(x, d, d1), expected)


@pytest.mark.parametrize('n', [1, 3, 200])
def test_it_takes_four_products(n):
    """As many as the definition with x D taken once; the sums are in them."""
    d, d1 = dictionaries()
    with FlopCounterMode(display=False) as counter:
        odl(torch.randn(n, D), d, d1)
    assert counter.get_total_flops() == 4 * 2 * n * R * D * D


def test_it_keeps_codes_and_residual_alone():
    x, (d, d1) = torch.randn(50, D, requires_grad=True), [t.requires_grad_() for t in dictionaries()]
    assert sum(saved_storages(lambda: odl(x, d, d1), [d, d1])) == 4 * x.numel() * (2 + 2 * R)
    assert sum(saved_storages(lambda: definition(x, d, d1), [d, d1])) > 4 * x.numel() * (2 + 2 * R)


def test_outputs_and_gradients_in_float32():
    data, grad = [torch.randn(60, D), *dictionaries()], torch.randn(60, D)

    def run(form, dtype):
        leaves = [t.to(dtype, copy=True).requires_grad_() for t in data]
        out = form(*leaves)
        return out.detach(), *torch.autograd.grad(out, leaves, grad.to(dtype))

    for own, exact in zip(run(odl, torch.float32), run(naive.odl, torch.float64)):
        assert (own - exact).norm() < 2e-6 * exact.norm()


@pytest.mark.parametrize('autocast, allowed', [(False, 1.), (True, 1.15)], ids=['bf16', 'autocast'])
def test_in_half_precision_it_is_no_worse_than_its_definition(autocast, allowed):
    """Error in norm against float64, mean over seeds. Under autocast the definition keeps its codes in float32."""
    own, other = 0., 0.
    for seed in range(4):
        torch.manual_seed(seed)
        data = [torch.randn(3, 50, D), *dictionaries()]
        if not autocast:
            data = [t.bfloat16() for t in data]
        exact = naive.odl(*(t.double() for t in data))
        with torch.autocast('cpu', torch.bfloat16, enabled=autocast):
            results = odl(*data), definition(*data)
        assert results[0].dtype == data[0].dtype
        own, other = own + (results[0] - exact).norm(), other + (results[1] - exact).norm()
    assert own <= allowed * other


@pytest.mark.parametrize('impl', ['naive', 'torch'])
def test_gradients(impl):
    torch.manual_seed(2)
    x, d, d1 = (torch.randn(*shape, dtype=torch.float64, requires_grad=True) for shape in ((2, 3, 4), (4, 8), (4, 8)))
    assert torch.autograd.gradcheck(lambda *args: odl(*args, impl=impl), (x, d, d1))
    assert torch.autograd.gradgradcheck(lambda *args: odl(*args, impl=impl), (x, d, d1))


def test_it_compiles_whole():
    module, x = ODL(D), torch.randn(2, 5, D)
    torch._dynamo.reset()
    compiled = torch.compile(module, fullgraph=True, backend='aot_eager')
    got = torch.autograd.grad(compiled(x).square().sum(), list(module.parameters()))
    expected = torch.autograd.grad(module(x).square().sum(), list(module.parameters()))
    torch.testing.assert_close(got, expected)


def test_dictionaries_start_as_published():
    """Uniform with variance 2 / d, the width of the tokens, whatever the number of atoms."""
    torch.manual_seed(0)
    for dictionary in ODL(96, ratio=3).parameters():
        assert dictionary.shape == (96, 288)
        assert dictionary.std().item() == pytest.approx((2 / 96)**0.5, rel=0.02)
        assert dictionary.abs().max().item() <= (6 / 96)**0.5
