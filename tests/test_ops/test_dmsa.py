"""DMSA has no official code: what its paper states, as properties."""
import itertools

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from mmwhitebox.ops import (
    channel_attention,
    dmsa,
    dmsa_gate,
    dmsa_membership,
    sparsemax,
)
from mmwhitebox.ops.dmsa import GATES, MEMBERSHIPS, naive
from mmwhitebox.ops.tssa.eager import scale_by_second_moment

B, K, N, P = 2, 4, 12, 5


@pytest.fixture
def s():
    return torch.randn(B, K, N, P, dtype=torch.float64)


@pytest.fixture
def logits():
    return 2 * torch.randn(B, K, N, dtype=torch.float64)


def coding_rate(w, eps_squared=0.01):
    """R_c = sum_k 1/2 logdet(I + p/(N eps^2) W_k^T W_k), one number per batch item."""
    n, p = w.shape[-2:]
    gram = torch.eye(p, dtype=w.dtype) + p / (n * eps_squared) * w.mT @ w
    return 0.5 * torch.logdet(gram).sum(-1)


def test_equations_written_out(s, logits):
    pi, g = torch.softmax(logits, 1), sparsemax(logits, 1)
    out = torch.empty_like(s)
    for b, k in itertools.product(range(B), range(K)):
        w = torch.diag(g[b, k]) @ s[b, k]
        m = (pi[b, k] / pi[b, k].sum()) @ w**2
        out[b, k] = -torch.diag(pi[b, k]) @ w @ torch.diag(1 / (1 + m))
    torch.testing.assert_close(naive.dmsa(s, logits), out)
    torch.testing.assert_close(dmsa(s, logits), out)


def test_selection_is_on_the_simplex_over_the_heads_and_sparse(logits):
    g = dmsa_gate(logits)
    torch.testing.assert_close(g.sum(1), torch.ones(B, N, dtype=g.dtype))
    assert (g == 0).any(1).float().mean() > 0.9
    assert (dmsa_membership(logits) > 0).all()


def test_soft_thresholding_of_a_membership_would_do_nothing(logits):
    """Why ST acts on the logits: a softmax output is its own projection."""
    pi = dmsa_membership(logits)
    torch.testing.assert_close(sparsemax(pi, 1), pi)


def test_membership_over_the_tokens_leaves_tokens_out(logits):
    pi = dmsa_membership(logits, 'st_tokens')
    torch.testing.assert_close(pi.sum(2), torch.ones(B, K, dtype=pi.dtype))
    assert (pi == 0).float().mean() > 0.5


@pytest.mark.parametrize('gate_act', ['st', 'sigmoid', 'relu', 'gelu'])
def test_with_full_membership_it_is_gated_channel_attention(s, logits, gate_act):
    """eq. 19-21: channel attention of the selected tokens = a gate on the output of its heads."""
    g = dmsa_gate(logits, gate_act).unsqueeze(-1)
    out = dmsa(s, logits, None, gate_act)
    torch.testing.assert_close(out, -channel_attention(g * s, eps_squared=P))  # p / (N eps^2) = 1 / N
    heads = s / (1 + (g * s).square().mean(-2, keepdim=True))
    torch.testing.assert_close(out, -g * heads)


@pytest.mark.parametrize('data', ['random', 'low rank', 'aligned with the gate'])
def test_selection_lowers_the_coding_rate(s, logits, data):
    """Theorem III.1: R_c(G * S) <= R_c(S), for every gate in [0, 1]."""
    if data == 'low rank':
        s = torch.randn(B, K, N, 1, dtype=s.dtype) @ torch.randn(B, K, 1, P, dtype=s.dtype)
    if data == 'aligned with the gate':
        s = s * torch.where(dmsa_gate(logits) > 0, 10., 0.1).unsqueeze(-1)
    for gate_act in ('st', 'sigmoid'):
        g = dmsa_gate(logits, gate_act).unsqueeze(-1)
        assert (coding_rate(g * s) < coding_rate(s)).all()


def test_without_selection_the_ablation_is_the_shared_core(s, logits):
    torch.testing.assert_close(
        dmsa(s, logits, 'st_tokens', None), scale_by_second_moment(s, sparsemax(logits, 2)))


@pytest.mark.parametrize('membership_act, gate_act', list(itertools.product(MEMBERSHIPS, GATES)))
def test_gradients(membership_act, gate_act):
    s = torch.randn(1, 3, 4, 2, dtype=torch.float64, requires_grad=True)
    logits = torch.randn(1, 3, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(
        lambda *args: dmsa(*args, membership_act, gate_act), (s, logits), eps=1e-7)


@pytest.mark.parametrize('membership_act, gate_act', [('softmax', 'st'), ('st_tokens', None), (None, 'gelu')])
def test_gradients_are_those_of_the_naive_form(s, logits, membership_act, gate_act):
    leaves = [s.requires_grad_(), logits.requires_grad_()]
    out = naive.dmsa(s, logits, membership_act, gate_act)
    grad = torch.randn_like(s)
    expected = torch.autograd.grad(out, leaves, grad)
    got = torch.autograd.grad(dmsa(*leaves, membership_act, gate_act), leaves, grad)
    torch.testing.assert_close(got, expected, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16])
def test_half_precision(s, logits, dtype):
    s, logits = s.to(dtype), logits.to(dtype)
    out = dmsa(s, logits)
    assert out.dtype == dtype and dmsa_gate(logits).dtype == dmsa_membership(logits).dtype == torch.float32
    expected = dmsa(s.double(), logits.double())
    torch.testing.assert_close(out.double(), expected, rtol=2 * torch.finfo(dtype).eps, atol=1e-4)


class Work(TorchDispatchMode):
    """Counts the numbers that all operations write: a measure of work that no clock disturbs."""

    def __init__(self):
        super().__init__()
        self.numbers = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        self.numbers += sum(t.numel() for t in (out if isinstance(out, (tuple, list)) else (out, ))
                            if isinstance(t, torch.Tensor))
        return out


def test_work_grows_linearly_in_the_tokens():
    def work(n):
        s, logits = torch.randn(1, 3, n, 8, requires_grad=True), torch.randn(1, 3, n, requires_grad=True)
        with Work() as counter:
            dmsa(s, logits).sum().backward()
        return counter.numbers

    assert 1.9 < work(1024) / work(512) <= 2
