"""Agent attention and ReLU linear attention against their quadratic forms."""
import pytest
import torch
import torch.nn.functional as F

from mmwhitebox.ops import agent_attention, mssa, relu_linear_attention

B, K, N, M, P = 2, 3, 10, 4, 5


@pytest.fixture
def qkv():
    return torch.randn(3, B, K, N, P, dtype=torch.float64).unbind()


def test_agents(qkv):
    q, k, v = qkv
    r0 = torch.randn(B, K, M, P, dtype=q.dtype)
    read = torch.softmax(P**-0.5 * q @ r0.mT, -1)
    gather = torch.softmax(P**-0.5 * r0 @ k.mT, -1)
    torch.testing.assert_close(agent_attention(q, k, v, r0), read @ gather @ v)


def test_the_tokens_as_agents_apply_mssa_twice(qkv):
    w = qkv[0]
    twice = torch.softmax(P**-0.5 * w @ w.mT, -1) @ mssa(w)
    torch.testing.assert_close(agent_attention(w, w, w, w), twice)


def test_relu_linear_attention(qkv):
    q, k, v = qkv
    scores = F.relu(q) @ F.relu(k).mT
    expected = scores / scores.sum(-1, keepdim=True).clamp_min(1e-9) @ v
    torch.testing.assert_close(relu_linear_attention(q, k, v), expected, rtol=1e-4, atol=1e-4)


def test_a_query_without_positive_feature_gives_zero(qkv):
    q, k, v = qkv
    out = relu_linear_attention(-q.abs(), k, v)
    assert (out == 0).all()


@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16])
def test_relu_linear_attention_sums_in_float32(dtype):
    """Sums over many tokens leave the range of float16 and the precision of bfloat16."""
    q, k, v = 20 * torch.rand(3, 1, 1, 4096, 4)
    out = relu_linear_attention(q.to(dtype), k.to(dtype), v.to(dtype))
    assert out.dtype == dtype
    torch.testing.assert_close(out.float(), relu_linear_attention(q, k, v), rtol=1e-2, atol=1e-2)
