"""Soft thresholding onto the simplex, against its definition and finite differences."""
import pytest
import torch

from mmwhitebox.ops import sparsemax, use


@pytest.fixture(params=['naive', 'torch'], autouse=True)
def form(request):
    with use(request.param):
        yield


def project_by_bisection(z):
    """max(z - tau, 0) over the last dimension with the sum brought to one by bisection of tau."""
    low, high = z.amax(-1, keepdim=True) - 1, z.amax(-1, keepdim=True)
    for _ in range(80):
        tau = (low + high) / 2
        too_much = (z - tau).clamp_min(0).sum(-1, keepdim=True) > 1
        low, high = torch.where(too_much, tau, low), torch.where(too_much, high, tau)
    return (z - low).clamp_min(0)


@pytest.mark.parametrize('dim', [0, 1, -1])
@pytest.mark.parametrize('scale', [0.01, 1., 100.])
def test_it_is_the_projection_onto_the_simplex(dim, scale):
    z = scale * torch.randn(7, 5, 9, dtype=torch.float64)
    expected = project_by_bisection(z.movedim(dim, -1)).movedim(-1, dim)
    torch.testing.assert_close(sparsemax(z, dim), expected, rtol=1e-9, atol=1e-9)


def test_no_point_of_the_simplex_is_nearer():
    z = torch.randn(1, 4, dtype=torch.float64)
    projected = sparsemax(z)
    points = torch.distributions.Dirichlet(torch.ones(4, dtype=torch.float64)).sample((5000, ))
    near = 0.99 * projected + 0.01 * points
    assert ((points - z).norm(dim=-1) > (projected - z).norm()).all()
    assert ((near - z).norm(dim=-1) > (projected - z).norm()).all()


def test_rows_are_on_the_simplex_and_sparse():
    y = sparsemax(3 * torch.randn(1000, 8))
    torch.testing.assert_close(y.sum(-1), torch.ones(1000))
    assert (y >= 0).all() and (y == 0).float().mean() > 0.6


def test_special_rows():
    tied = torch.zeros(1, 5)
    torch.testing.assert_close(sparsemax(tied), torch.full((1, 5), 0.2))
    on_the_simplex = torch.tensor([[0.5, 0.3, 0.2]])
    torch.testing.assert_close(sparsemax(on_the_simplex), on_the_simplex)
    torch.testing.assert_close(sparsemax(torch.tensor([[1e4, 1e4 + 0.5]])), torch.tensor([[0.25, 0.75]]))
    torch.testing.assert_close(sparsemax(torch.tensor([[1e9, 1e9, 0.]])), torch.tensor([[0.5, 0.5, 0.]]))
    torch.testing.assert_close(sparsemax(torch.tensor([[3.], [-3.]])), torch.ones(2, 1))


@pytest.mark.parametrize('dim', [0, 1, 2])
def test_gradients(dim):
    z = 2 * torch.randn(3, 4, 5, dtype=torch.float64)
    z.requires_grad_()
    assert torch.autograd.gradcheck(lambda z: sparsemax(z, dim), (z, ), eps=1e-7)
    assert torch.autograd.gradgradcheck(lambda z: sparsemax(z, dim) ** 2, (z, ), eps=1e-7)


@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16, torch.float64])
def test_dtype_is_kept(dtype):
    z = torch.randn(6, 5)
    y = sparsemax(z.to(dtype).requires_grad_())
    assert y.dtype == dtype
    torch.testing.assert_close(y.float(), sparsemax(z.to(dtype).float()), rtol=1e-2, atol=1e-2)
