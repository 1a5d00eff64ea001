"""TSSA: the equations of ToST written out, and what the operator must not do."""
import pytest
import torch
import torch.nn.functional as F

from mmwhitebox.ops import tssa, tssa_membership
from mmwhitebox.ops.precision import wide_dtype, wide_product
from mmwhitebox.ops.tssa import naive
from mmwhitebox.ops.tssa.eager import scale_by_second_moment

B, K, N, P = 2, 3, 11, 4


@pytest.fixture
def w():
    return torch.randn(B, K, N, P, dtype=torch.float64)


@pytest.fixture
def temp():
    return torch.tensor([[0.5], [1.], [3.]], dtype=torch.float64)


def written_out(w, temp):
    energy = F.normalize(w, dim=-2).square().sum(-1)
    pi = torch.softmax(temp * energy, dim=1)
    m = torch.zeros(B, K, P, dtype=w.dtype)
    for n in range(N):
        m = m + (pi[:, :, n] / (pi.sum(-1) + 1e-8))[..., None] * w[:, :, n]**2
    return pi, -(pi[..., None] * w) / (1 + m[:, :, None])


def test_equations(w, temp):
    pi, out = written_out(w, temp)
    torch.testing.assert_close(tssa_membership(w, temp), pi)
    torch.testing.assert_close(naive.tssa(w, temp), out)
    torch.testing.assert_close(tssa(w, temp), out)


def test_gradients():
    w = torch.randn(1, 2, 5, 3, dtype=torch.float64, requires_grad=True)
    temp = torch.rand(2, 1, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(tssa, (w, temp))


@pytest.mark.parametrize('scale', [1e-3, 1., 1e3])
def test_gradients_are_those_of_the_naive_form(w, temp, scale):
    leaves = [(scale * w).requires_grad_(), temp.requires_grad_()]
    grad = torch.randn_like(w)
    expected = torch.autograd.grad(naive.tssa(*leaves), leaves, grad)
    torch.testing.assert_close(torch.autograd.grad(tssa(*leaves), leaves, grad), expected, rtol=1e-8, atol=1e-12)
    single = [leaf.detach().float().requires_grad_() for leaf in leaves]
    for got, exact in zip(torch.autograd.grad(tssa(*single), single, grad.float()), expected):
        assert (got - exact).norm() < 2e-6 * exact.norm()


def test_it_is_its_membership_and_the_shared_core(w, temp):
    leaves = [w.requires_grad_(), temp]
    grad = torch.randn_like(w)
    torch.testing.assert_close(scale_by_second_moment(w, tssa_membership(*leaves)), tssa(*leaves))
    pi = torch.rand(B, K, N, dtype=w.dtype, requires_grad=True)
    out = naive.scale_by_second_moment(w, pi)
    torch.testing.assert_close(scale_by_second_moment(w, pi), out)
    torch.testing.assert_close(torch.autograd.grad(scale_by_second_moment(w, pi), (w, pi), grad),
                               torch.autograd.grad(out, (w, pi), grad), rtol=1e-6, atol=1e-8)


def test_membership_can_be_differentiated(w, temp):
    leaves = [w.requires_grad_(), temp.requires_grad_()]
    grad = torch.randn(B, K, N, dtype=w.dtype)
    torch.testing.assert_close(torch.autograd.grad(tssa_membership(*leaves), leaves, grad),
                               torch.autograd.grad(written_out(*leaves)[0], leaves, grad))


def test_gradient_of_a_gradient_is_refused_in_words(w, temp):
    first, = torch.autograd.grad(tssa(w.requires_grad_(), temp).square().sum(), w, create_graph=True)
    with pytest.raises(RuntimeError, match="tssa: .*impl='naive'"):
        first.sum().backward()


def test_a_channel_without_energy_stays_zero(w, temp):
    w[..., 0] = 0
    w.requires_grad_()
    out = tssa(w, temp)
    out.sum().backward()
    assert (out[..., 0] == 0).all() and out.isfinite().all() and w.grad.isfinite().all()


@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16])
def test_statistics_are_float32_for_half_precision(w, temp, dtype):
    w = w.to(dtype)
    out = tssa(w, temp.float())
    assert out.dtype == dtype and tssa_membership(w, temp.float()).dtype == torch.float32
    expected = tssa(w.double(), temp)
    torch.testing.assert_close(out.double(), expected, rtol=2 * torch.finfo(dtype).eps, atol=1e-4)


def test_statistics_are_float32_under_autocast(w, temp):
    w, temp = w.float(), temp.float()
    with torch.autocast('cpu', torch.bfloat16):
        torch.testing.assert_close(tssa(w, temp), tssa(w.double(), temp.double()).float())


@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float32, torch.float64])
def test_wide_products_of_strided_heads_are_contiguous_and_leave_their_factors(w, dtype):
    x = w.transpose(1, 2).contiguous().to(dtype).transpose(1, 2)  # as a projection leaves the heads
    channels = torch.rand(B, K, 1, P).to(wide_dtype(x))
    before = x.clone()
    for factor in (x, x.flip(0), channels):
        out = wide_product(x, factor)
        assert out.is_contiguous() and out.dtype == wide_dtype(x)
        torch.testing.assert_close(out, x.to(out.dtype) * factor.to(out.dtype), rtol=0, atol=0)
    assert torch.equal(x, before) and not x.is_contiguous()
