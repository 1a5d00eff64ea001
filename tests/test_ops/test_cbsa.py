"""CBSA: the four reductions of section 3.3, the two contractions, and the pool."""
import pytest
import torch
import torch.nn.functional as F
from torch.utils.flop_counter import FlopCounterMode

from mmwhitebox.ops import (
    broadcast,
    cbsa,
    channel_attention,
    contract,
    extract,
    mssa,
    pool_representatives,
    spectral_attention,
)
from mmwhitebox.ops.cbsa import eager, mapped_cbsa, naive
from mmwhitebox.ops.cbsa.eager import coefficients
from mmwhitebox.ops.pool import pool_grid

B, K, N, P = 2, 3, 20, 6
EPS_SQUARED = 0.01


@pytest.fixture
def w():
    return torch.randn(B, K, N, P, dtype=torch.float64)


def softmax_attention(w):
    """softmax(s W W^T) W, written out."""
    return torch.softmax(P**-0.5 * w @ w.mT, -1) @ w


def test_tokens_as_representatives_give_mssa(w):
    identity = torch.eye(N, dtype=w.dtype).expand(B, K, N, N)
    out = broadcast(identity, contract(w))
    torch.testing.assert_close(out, softmax_attention(w))
    torch.testing.assert_close(mssa(w), softmax_attention(w))


def test_principal_directions_as_representatives_give_linear_attention(w):
    """eq. 10-12: W = V S L^T, representatives R = S L^T, coefficients A = V^T."""
    v, s, lt = torch.linalg.svd(w, full_matrices=False)
    r = s[..., None] * lt
    torch.testing.assert_close(v @ r, w)
    # eq. 12 counts the N tokens behind the covariance where eq. 7 counts the p representatives.
    out = broadcast(v.mT, contract(r, 'inverse', EPS_SQUARED * N / P))
    values, vectors = torch.linalg.eigh(w.mT @ w)
    f = 1 / (1 + P / (N * EPS_SQUARED) * values)
    expected = w @ (vectors * f[..., None, :]) @ vectors.mT
    torch.testing.assert_close(out, expected)
    torch.testing.assert_close(spectral_attention(w, EPS_SQUARED), expected)


def test_representatives_along_the_basis_give_channel_attention(w):
    """eq. 13: R = diag(channel norms), coefficients A = W R^{-1}."""
    norms = w.norm(dim=-2)
    out = broadcast((w / norms[..., None, :]).mT, contract(torch.diag_embed(norms), 'inverse',
                                                           EPS_SQUARED * N / P))
    expected = w / (1 + P / (N * EPS_SQUARED) * w.square().sum(-2, keepdim=True))
    torch.testing.assert_close(out, expected)
    torch.testing.assert_close(channel_attention(w, EPS_SQUARED), expected)


def test_without_contraction_it_is_agent_attention_with_shared_q_k_v(w):
    """Agents gather by softmax(s R0 W^T), tokens read the agents with the same scores.

    Agent Attention normalises its second map over the agents, CBSA sends back by the map it extracted
    with: multiplied by the row sums Z of exp(scores), and normalised over the agents, they agree.
    """
    r0 = torch.randn(B, K, 4, P, dtype=w.dtype)
    one = torch.ones(K, 1, 1, dtype=w.dtype)
    scores = P**-0.5 * r0 @ w.mT
    agents = torch.softmax(scores, -1) @ w
    a, r = extract(w, r0, one)
    torch.testing.assert_close(r, r0 + agents)
    torch.testing.assert_close(cbsa(w, r0, one, 2 * one, contraction=None), 2 * a.mT @ (r0 + agents))
    read = a * scores.exp().sum(-1, keepdim=True)
    read = read / read.sum(-2, keepdim=True)
    torch.testing.assert_close(broadcast(read, agents), torch.softmax(scores, -2).mT @ agents)


@pytest.mark.parametrize('m', [4, 6, 9])
def test_inverse_contraction_follows_equation_7_on_either_gram_matrix(m):
    r = torch.randn(B, K, m, P, dtype=torch.float64)
    eye = torch.eye(m, dtype=r.dtype)
    expected = torch.linalg.inv(eye + P / (m * EPS_SQUARED) * r @ r.mT) @ r
    torch.testing.assert_close(contract(r, 'inverse', EPS_SQUARED), expected)


def test_inverse_contraction_descends_the_coding_rate_of_the_representatives():
    """Its direction is the gradient of 1/2 logdet(I + p/(m eps^2) R R^T), up to the factor p/(m eps^2)."""
    m = 4
    r = torch.randn(1, 1, m, P, dtype=torch.float64, requires_grad=True)
    rate = 0.5 * torch.logdet(torch.eye(m, dtype=r.dtype) + P / (m * EPS_SQUARED) * r @ r.mT)
    rate.sum().backward()
    torch.testing.assert_close(r.grad, P / (m * EPS_SQUARED) * contract(r.detach(), 'inverse', EPS_SQUARED))


@pytest.mark.parametrize('hw_shape', [(6, 8), (5, 7), (2, 3)])
def test_pool_averages_the_patch_grid_and_leaves_extra_tokens_out(hw_shape):
    h, w_ = hw_shape
    tokens = torch.randn(B, 5 + h * w_, K * P)
    pooled = pool_representatives(tokens, hw_shape, pool_size=4, num_heads=K)
    expected = F.adaptive_avg_pool2d(tokens[:, 5:].transpose(1, 2).reshape(B, K * P, h, w_), 4)
    expected = expected.reshape(B, K, P, 16).transpose(2, 3)
    torch.testing.assert_close(pooled, expected)
    changed = tokens.clone()
    changed[:, :5] += 1
    torch.testing.assert_close(pool_representatives(changed, hw_shape, 4, K), pooled)


def test_official_pool_takes_the_first_tokens():
    tokens = torch.randn(B, 1 + 16, K * P)
    official = pool_representatives(tokens, (4, 4), 2, K, pool_tokens='official')
    torch.testing.assert_close(official, pool_representatives(tokens[:, :-1], (4, 4), 2, K))


@pytest.mark.parametrize('hw_shape', [(6, 8), (5, 7), (2, 3)])
@pytest.mark.parametrize('batch, before, after', [(1, 0, 0), (3, 0, 0), (3, 2, 0), (2, 0, 1)])
def test_the_pool_and_its_gradient_are_those_of_torch(hw_shape, batch, before, after):
    h, w_ = hw_shape
    tokens = torch.randn(batch, before + h * w_ + after, 6, dtype=torch.float64, requires_grad=True)
    pooled = pool_grid(tokens, before, hw_shape, 4)
    grid = tokens[:, before:before + h * w_].mT.unflatten(2, hw_shape)
    expected = F.adaptive_avg_pool2d(grid, 4).flatten(2).mT
    torch.testing.assert_close(pooled, expected)
    grad = torch.randn_like(pooled)
    torch.testing.assert_close(torch.autograd.grad(pooled, tokens, grad), torch.autograd.grad(expected, tokens, grad))


@pytest.fixture(params=['together', 'one by one'])
def images(request, monkeypatch):
    """How the images of a batch are taken."""
    monkeypatch.setattr(eager, 'LARGE', 1 if request.param == 'one by one' else 2**62)


@pytest.mark.parametrize('m', [4, 9])
@pytest.mark.parametrize('contraction', ['softmax', 'inverse', None])
def test_it_is_the_naive_form(contraction, m, images):
    """In one function that makes A twice and keeps it never: outputs and gradients."""
    w = torch.randn(B, N, K, P, dtype=torch.float64).transpose(1, 2).requires_grad_()  # as the modules pass it
    r0 = torch.randn(B, K, m, P, dtype=w.dtype, requires_grad=True)
    steps = [torch.randn(K, 1, 1, dtype=w.dtype, requires_grad=True) for _ in range(2)]
    leaves, grad = (w, r0, *steps), torch.randn_like(w)
    expected, out = naive.cbsa(*leaves, contraction), cbsa(*leaves, contraction)
    torch.testing.assert_close(out, expected)
    gradients = torch.autograd.grad(expected, leaves, grad)
    torch.testing.assert_close(torch.autograd.grad(out, leaves, grad), gradients)
    with torch.no_grad():
        assert torch.equal(cbsa(*leaves, contraction), out)


MAPPED = dict(n=N, m=3, p=P, d=4)


def mapped_leaves(n, m, p, d, batch=B, bias=True, requires_grad=True):
    """W as the modules pass it, R0, the steps, and the weight and the bias of the map back."""
    def leaf(*shape):
        return torch.randn(*shape, dtype=torch.float64).requires_grad_(requires_grad)

    w, r0 = leaf(batch, n, K, p).transpose(1, 2), leaf(batch, m, K, p).transpose(1, 2)
    return w, r0, leaf(K, 1, 1), leaf(K, 1, 1), leaf(d, K * p), leaf(d) if bias else None


def plainly_mapped(w, r0, step_rep, step_x, weight, bias, *args):
    heads = naive.cbsa(w, r0, step_rep, step_x, *args)
    return torch.einsum('bknp,dkp->bnd', heads, weight.unflatten(1, (K, -1))) + (0 if bias is None else bias)


@pytest.mark.parametrize('bias', [True, False])
@pytest.mark.parametrize('batch', [1, 3])
@pytest.mark.parametrize('contraction', ['softmax', 'inverse', None])
def test_mapped_representatives_are_mapped_tokens(contraction, batch, bias, images):
    """Outputs and gradients, where the sizes say that the representatives are mapped."""
    *leaves, offset = mapped_leaves(**MAPPED, batch=batch, bias=bias)
    assert eager.maps_representatives(*MAPPED.values())
    tensors = [*leaves, offset] if bias else leaves
    out, expected = mapped_cbsa(*leaves, offset, contraction), plainly_mapped(*leaves, offset, contraction)
    torch.testing.assert_close(out, expected)
    grad = torch.randn_like(out)
    gradients = torch.autograd.grad(out, tensors, grad)
    torch.testing.assert_close(gradients, torch.autograd.grad(expected, tensors, grad))
    with torch.no_grad():
        assert torch.equal(mapped_cbsa(*leaves, offset, contraction), out)


def test_gradients_of_the_mapped_form():
    leaves = mapped_leaves(n=7, m=2, p=3, d=2, batch=1)
    assert eager.maps_representatives(7, 2, 3, 2)
    assert torch.autograd.gradcheck(mapped_cbsa, leaves)


@pytest.mark.parametrize('sizes', [(197, 64, 64, 192), (325, 64, 64, 192), (577, 64, 64, 384), (400, 100, 100, 384),
                                   (600, 100, 100, 384), (128, 64, 8, 64), (128, 8, 64, 64), (40, 9, 5, 12)])
def test_the_representatives_are_mapped_where_that_multiplies_less(sizes, monkeypatch):
    """By a count of both ways, forward, without what they have in common: the scores, A W and the contraction."""
    n, m, p, d = sizes
    leaves = mapped_leaves(*sizes, batch=1, requires_grad=False)

    def multiplications(maps):
        monkeypatch.setattr(eager, 'maps_representatives', lambda *_: maps)
        with FlopCounterMode(display=False) as counter:
            mapped_cbsa(*leaves)
        return counter.get_total_flops() / 2 - 2 * K * n * m * p - 2 * K * m * m * p

    expected = multiplications(False) >= 1.05 * multiplications(True)
    monkeypatch.undo()
    assert eager.maps_representatives(*sizes) == expected


@pytest.mark.parametrize('change', [dict(impl='naive'), dict(bfloat16=True), dict(autocast=True)])
def test_tokens_are_mapped_in_the_naive_form_and_in_half_precision(change, monkeypatch):
    monkeypatch.setattr(eager, 'mapped_cbsa', lambda *_: pytest.fail('mapped representatives'))
    leaves = [t.detach().to(torch.bfloat16 if 'bfloat16' in change else torch.float32)
              for t in mapped_leaves(**MAPPED)]
    with torch.autocast('cpu', enabled='autocast' in change):
        out = mapped_cbsa(*leaves, impl=change.get('impl', 'auto'))
    assert out.dtype == (torch.float32 if 'impl' in change else torch.bfloat16)
    torch.testing.assert_close(out.double(), plainly_mapped(*(t.double() for t in leaves)), rtol=0.05, atol=0.1)


def test_no_image_at_all(images):
    leaves = mapped_leaves(300, 4, 4, 8, batch=0)
    out = mapped_cbsa(*leaves)
    out.sum().backward()
    assert out.shape == (0, 300, 8) and leaves[4].grad.abs().max() == 0


@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16])
def test_the_pool_of_a_batch_rounds_once(dtype):
    tokens = torch.randn(2, 1 + 14 * 14, 6).to(dtype)
    grid = tokens[:, 1:].transpose(1, 2).unflatten(2, (14, 14))
    assert torch.equal(pool_grid(tokens, 1, (14, 14), 8), F.adaptive_avg_pool2d(grid, 8).flatten(2).transpose(1, 2))


def test_the_mapped_form_compiles():
    leaves = [t.detach().requires_grad_() for t in mapped_leaves(**MAPPED)]
    out = mapped_cbsa(*leaves)
    torch._dynamo.reset()
    got = torch.compile(mapped_cbsa, backend='aot_eager', fullgraph=True)(*leaves)
    torch.testing.assert_close(got, out)
    grad = torch.randn_like(out)
    torch.testing.assert_close(torch.autograd.grad(got, leaves, grad), torch.autograd.grad(out, leaves, grad))


@pytest.mark.parametrize('n', [3, 64, 197, 1025, 4099])
@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16, torch.float16])
def test_the_softmax_in_place_is_the_softmax(n, dtype):
    tokens, r0 = torch.randn(2, n, 8).to(dtype), (3 * torch.randn(2, 5, 8)).to(dtype)
    assert torch.equal(coefficients(tokens, r0), (r0 @ tokens.mT).softmax(-1))


@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16])
def test_in_half_precision_it_is_no_less_exact_than_autograd(dtype):
    """Mean over tensors of the relative error of outputs and gradients, against float64."""
    w, grad = torch.randn(2, 2, K, 300, 16).to(dtype).unbind()
    r0, steps = torch.randn(2, K, 25, 16).to(dtype), torch.randn(2, K, 1, 1).to(dtype).unbind()

    def run(operator, dtype):
        leaves = [t.detach().to(dtype, copy=True).requires_grad_() for t in (w, r0, *steps)]
        out = operator(*leaves)
        return [t.double() for t in (out.detach(), *torch.autograd.grad(out, leaves, grad.to(dtype)))]

    def narrow(w, r0, step_rep, step_x):
        a, r = extract(w, r0, step_rep)
        return broadcast(a, step_x * contract(r))

    exact = run(naive.cbsa, torch.float64)
    own, steps_in_half = ([(a - b).norm() / b.norm() for a, b in zip(run(operator, dtype), exact)]
                          for operator in (cbsa, narrow))
    assert torch.stack(own).mean() <= torch.stack(steps_in_half).mean()


@pytest.mark.parametrize('m', [2, 4])
@pytest.mark.parametrize('contraction', ['softmax', 'inverse', None])
def test_gradients(contraction, m):
    w = torch.randn(1, 2, 7, 3, dtype=torch.float64, requires_grad=True)
    r0 = torch.randn(1, 2, m, 3, dtype=torch.float64, requires_grad=True)
    steps = [torch.randn(2, 1, 1, dtype=torch.float64, requires_grad=True) for _ in range(2)]
    assert torch.autograd.gradcheck(lambda *args: cbsa(*args, contraction=contraction), (w, r0, *steps))


@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16])
def test_half_precision_keeps_its_type_and_stays_near_float64(w, dtype):
    r0, one = w[:, :, :4], torch.ones(K, 1, 1)
    expected = cbsa(w, r0, one.double(), one.double())
    out = cbsa(w.to(dtype), r0.to(dtype), one.to(dtype), one.to(dtype))
    assert out.dtype == dtype
    torch.testing.assert_close(out.double(), expected, rtol=0.05, atol=0.05)
