"""2-D rotary embedding: a rotation, relative, per axis."""
import pytest
import torch

from mmwhitebox.ops import rope_2d

D = 16


@pytest.mark.parametrize('axis', [0, 1])
def test_products_depend_on_the_offset_alone(axis):
    q, k = torch.randn(2, 1, 1, D, dtype=torch.float64).unbind()
    grid = (6, 5)
    queries, keys = (rope_2d(t.expand(1, 30, D), grid).unflatten(1, grid)[0] for t in (q, k))
    products = torch.einsum('hwd,uvd->hwuv', queries, keys)
    step = (slice(1, None), slice(None)) if axis == 0 else (slice(None), slice(1, None))
    back = (slice(None, -1), slice(None)) if axis == 0 else (slice(None), slice(None, -1))
    torch.testing.assert_close(products[(*step, *step)], products[(*back, *back)])
    assert (products[(*step, *back)] - products[(*back, *back)]).abs().max() > 0.1


def test_each_half_turns_with_one_axis():
    x = torch.randn(1, 1, D).expand(1, 12, D)
    y = rope_2d(x, (3, 4)).unflatten(1, (3, 4))[0]
    torch.testing.assert_close(y[:, :1, :D // 2].expand(-1, 4, -1), y[..., :D // 2])
    torch.testing.assert_close(y[:1, :, D // 2:].expand(3, -1, -1), y[..., D // 2:])
    pair = torch.view_as_complex(x[0, 0, :2].contiguous()) * torch.exp(torch.tensor(2j))
    torch.testing.assert_close(y[2, 0, :2], torch.view_as_real(pair))  # the fastest pair: one radian a row


def test_extra_tokens_stay_and_norms_are_kept():
    x = torch.randn(2, 3 + 12, D)
    y = rope_2d(x, (4, 3))
    assert torch.equal(y[:, :3], x[:, :3])
    torch.testing.assert_close(y.norm(dim=-1), x.norm(dim=-1))
    assert rope_2d(x.bfloat16(), (4, 3)).dtype == torch.bfloat16
    torch.testing.assert_close(rope_2d(x.bfloat16(), (4, 3)).float(), rope_2d(x.bfloat16().float(), (4, 3)),
                               rtol=2**-8, atol=2**-8)


@pytest.mark.parametrize('dtype', [torch.float32, torch.float64, torch.bfloat16])
def test_compiled_it_is_the_same(dtype):
    """A compiler is given the form without complex numbers."""
    x = torch.randn(2, 3 + 20, D, dtype=dtype, requires_grad=True)
    compiled = torch.compile(rope_2d, fullgraph=True, backend='aot_eager')(x, (5, 4))
    tolerance = dict(rtol=4 * torch.finfo(dtype).eps, atol=4 * torch.finfo(dtype).eps)
    torch.testing.assert_close(compiled, rope_2d(x, (5, 4)), **tolerance)
    grads = [torch.autograd.grad(y.square().sum(), x)[0] for y in (compiled, rope_2d(x, (5, 4)))]
    torch.testing.assert_close(*grads, rtol=tolerance['rtol'], atol=4 * tolerance['atol'])


def test_gradients_are_turned_back():
    x = torch.randn(2, 2 + 6, 8, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: rope_2d(x, (3, 2)), (x, ))
    grad = torch.randn_like(x)
    back, = torch.autograd.grad(rope_2d(x, (3, 2)), x, grad)
    torch.testing.assert_close(rope_2d(back, (3, 2)), grad)
