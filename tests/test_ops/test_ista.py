"""ISTA: the folded product against the three of its definition."""
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from mmwhitebox.ops import ista
from mmwhitebox.ops.ista import naive

D = 64


def three_products(x, weight):
    """The definition in the type of its inputs."""
    return torch.relu(x + 0.1 * (x @ weight - x @ weight.t() @ weight) - 0.1 * 0.1)


@pytest.fixture
def weight():
    return torch.nn.init.kaiming_uniform_(torch.empty(D, D))


def test_folding_changes_nothing_beyond_rounding(weight):
    x = torch.randn(3, 50, D)
    exact = naive.ista(x.double(), weight.double())
    assert ((ista(x, weight).double() - exact).norm() / exact.norm()) < 2e-6
    torch.testing.assert_close(ista(x.double(), weight.double(), 0.3, 0.2),
                               naive.ista(x.double(), weight.double(), 0.3, 0.2))


SIZES = [(50, 96), (197, 64), (96, 96)]  # fewer and more tokens than features


@pytest.mark.parametrize('n, d', SIZES)
def test_outputs_and_gradients_in_float32(n, d):
    """Within 2e-6 of the three products in float64: relative error in norm, gradients too."""
    data = torch.randn(n, d), torch.nn.init.kaiming_uniform_(torch.empty(d, d))
    grad = torch.randn(n, d)

    def run(form, dtype):
        leaves = [t.to(dtype, copy=True).requires_grad_() for t in data]
        out = form(*leaves)
        return out.detach(), *torch.autograd.grad(out, leaves, grad.to(dtype))

    for own, exact in zip(run(ista, torch.float32), run(naive.ista, torch.float64)):
        assert (own - exact).norm() < 2e-6 * exact.norm()


@pytest.mark.parametrize('n, d', SIZES)
def test_in_bf16_it_is_no_worse_than_three_products(n, d):
    """Mean and greatest error against float64, over seeds."""
    errors = []
    for seed in range(5):
        torch.manual_seed(seed)
        x = torch.randn(n, d).bfloat16()
        weight = torch.nn.init.kaiming_uniform_(torch.empty(d, d)).bfloat16()
        exact = naive.ista(x.double(), weight.double())
        errors.append([(form(x, weight) - exact).abs() for form in (ista, three_products)])
    own, unfolded = (torch.stack(e) for e in zip(*errors))
    assert own.mean() <= unfolded.mean() and own.amax((1, 2)).mean() <= unfolded.amax((1, 2)).mean()


def products(n, d):
    with FlopCounterMode(display=False) as counter:
        ista(torch.randn(n, d), torch.randn(d, d))
    return counter.get_total_flops() / (2 * d * d)


def test_it_takes_the_cheaper_form():
    """In products of one token: n + d when M is made, 2 n when it is not."""
    assert products(100, 16) == 116 and products(10, 16) == 20 and products(16, 16) == 32
    assert ista(torch.randn(16), torch.randn(16, 16)).shape == (16, )


@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16], ids=['float32 tokens', 'bf16 tokens'])
def test_under_autocast_it_is_no_worse_than_three_products(weight, dtype):
    x = torch.randn(3, 50, D).to(dtype)
    exact = naive.ista(x.double(), weight.double())
    with torch.autocast('cpu', torch.bfloat16):
        folded, unfolded = ista(x, weight), three_products(x, weight)
    assert folded.dtype == dtype
    assert (folded - exact).norm() <= (unfolded - exact).norm()


def test_the_step_is_a_proximal_gradient_step_on_the_reconstruction():
    """relu of x - eta grad(1/2 |x - D y|^2) at y = x, shifted by eta lambda."""
    x = torch.randn(D, dtype=torch.float64)
    dictionary = torch.randn(D, D, dtype=torch.float64) / D**0.5
    code = x.clone().requires_grad_()
    (0.5 * (x - dictionary @ code).square().sum()).backward()
    expected = torch.relu(x - 0.1 * code.grad - 0.1 * 0.1)
    torch.testing.assert_close(ista(x[None], dictionary)[0], expected)


def test_gradients():
    weight = torch.randn(4, 4, dtype=torch.float64, requires_grad=True)
    for n in (1, 3):
        x = torch.randn(2, n, 4, dtype=torch.float64, requires_grad=True)
        assert torch.autograd.gradcheck(ista, (x, weight))
        assert (ista(x, weight) == 0).any()
