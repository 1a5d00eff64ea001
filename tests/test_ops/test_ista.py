"""ISTA: the folded product against the three of its definition."""
import pytest
import torch

from mmwhitebox.ops import ista

D = 64


def three_products(x, weight, eta=0.1, lam=0.1):
    return torch.relu(x + eta * (x @ weight - x @ weight.t() @ weight) - eta * lam)


@pytest.fixture
def weight():
    return torch.nn.init.kaiming_uniform_(torch.empty(D, D))


def test_folding_changes_nothing_beyond_rounding(weight):
    x = torch.randn(3, 50, D)
    exact = three_products(x.double(), weight.double())
    assert ((ista(x, weight).double() - exact).norm() / exact.norm()) < 2e-6
    torch.testing.assert_close(ista(x.double(), weight.double(), 0.3, 0.2),
                               three_products(x.double(), weight.double(), 0.3, 0.2))


@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16], ids=['float32 tokens', 'bf16 tokens'])
def test_under_autocast_it_is_no_worse_than_three_products(weight, dtype):
    x = torch.randn(3, 50, D).to(dtype)
    exact = three_products(x.double(), weight.double())
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
    x = torch.randn(2, 3, 4, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(4, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(ista, (x, weight))
    assert (ista(x, weight) == 0).any()
