"""TSSA: the equations of ToST written out, and what the operator must not do."""
import pytest
import torch
import torch.nn.functional as F

from mmwhitebox.ops import tssa, tssa_membership

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
        m += (pi[:, :, n] / pi.sum(-1))[..., None] * w[:, :, n]**2
    return pi, -(pi[..., None] * w) / (1 + m[:, :, None])


def test_equations(w, temp):
    pi, out = written_out(w, temp)
    torch.testing.assert_close(tssa_membership(w, temp), pi)
    torch.testing.assert_close(tssa(w, temp), out)


def test_gradients():
    w = torch.randn(1, 2, 5, 3, dtype=torch.float64, requires_grad=True)
    temp = torch.rand(2, 1, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(tssa, (w, temp))


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
