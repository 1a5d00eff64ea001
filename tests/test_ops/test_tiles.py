"""Long sequences in tiles of tokens: the same numbers as at once, in the same memory, and only where it helps."""
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from mmwhitebox.ops import dmsa, tiles, tssa
from mmwhitebox.ops.dmsa import naive as dmsa_naive
from mmwhitebox.ops.tssa import naive as tssa_naive

B, K, N, P = 2, 3, 23, 4
TEMP = torch.tensor([[0.5], [1.], [3.]], dtype=torch.float64)
OPERATORS = dict(
    tssa=(lambda w, temp: tssa(w, temp), tssa_naive.tssa, TEMP),
    dmsa=(lambda w, logits: dmsa(w, logits), dmsa_naive.dmsa, None),
    ungated=(lambda w, logits: dmsa(w, logits, 'softmax', None),
             lambda w, logits: dmsa_naive.dmsa(w, logits, 'softmax', None), None))


def heads(dtype=torch.float64, n=N):
    """As a projection leaves them: (B, N, K, p) in memory."""
    return torch.randn(B, n, K, P, dtype=dtype).transpose(1, 2)


def logits():
    return 2 * torch.randn(B, K, N, dtype=torch.float64)


@pytest.fixture
def short_tiles(monkeypatch):
    """Five tokens a tile, the last one shorter."""
    monkeypatch.setattr(tiles, 'TILE', 5 * B * K * P)
    monkeypatch.setattr(tiles, 'LONG', 2)
    monkeypatch.setattr(torch, 'get_num_threads', lambda: 1)


@pytest.mark.parametrize('name', OPERATORS)
def test_tiles_compute_the_same(name, short_tiles):
    function, naive, other = OPERATORS[name]
    leaves = [heads(), logits() if other is None else other.clone()]
    leaves = [leaf.requires_grad_() for leaf in leaves]
    assert tiles.tile_of(leaves[0]) == 5
    out, expected, grad = function(*leaves), naive(*leaves), torch.randn(B, K, N, P, dtype=torch.float64)
    torch.testing.assert_close(out, expected)
    torch.testing.assert_close(torch.autograd.grad(out, leaves, grad), torch.autograd.grad(expected, leaves, grad))
    assert out.transpose(1, 2).is_contiguous()  # merging the heads copies nothing


@pytest.mark.parametrize('name', OPERATORS)
@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16])
def test_statistics_of_tiles_are_float32_for_half_precision(name, dtype, short_tiles):
    function, naive, other = OPERATORS[name]
    w, other = heads(dtype), (logits() if other is None else other).float()
    out = function(w, other)
    assert out.dtype == dtype
    expected = naive(w.double(), other.double())
    torch.testing.assert_close(out.double(), expected, rtol=2 * torch.finfo(dtype).eps, atol=1e-4)


@pytest.mark.parametrize('name', OPERATORS)
def test_no_intermediate_result_is_as_large_as_the_tokens(name, short_tiles):
    function, _, other = OPERATORS[name]
    leaves = [heads(), logits() if other is None else other.clone()]
    leaves = [leaf.requires_grad_() for leaf in leaves]
    large = []

    class Note(TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            out = func(*args, **(kwargs or {}))
            fresh = isinstance(out, torch.Tensor) and out.numel() == B * K * N * P and not out._is_view()
            if fresh and func is not torch.ops.aten.detach.default:
                large.append(out.untyped_storage().data_ptr())
            return out

    with Note():
        out = function(*leaves)
        assert set(large) == {out.untyped_storage().data_ptr()}
        large.clear()
        grad_w, _ = torch.autograd.grad(out, leaves, torch.ones_like(out))
    assert len({*large} - {grad_w.untyped_storage().data_ptr()}) <= 1  # the gradient of the output


class Module(torch.nn.Module):
    def forward(self, w, temp):
        return tssa(w, temp)


def test_few_tokens_other_devices_and_compilers_have_no_tiles(short_tiles):
    assert tiles.tile_of(heads(n=9)) is None and tiles.tile_of(heads(n=10)) == 5
    assert tiles.tile_of(heads().to('meta')) is None
    seen = []

    def traced(w):
        seen.append(tiles.tile_of(w))
        return w

    torch.jit.trace(traced, heads(), check_trace=False)
    torch.compile(lambda w: w + (tiles.tile_of(w) or 0), backend='eager', fullgraph=True)(heads())
    assert seen == [None]
    program = torch.export.export(Module(), (heads(torch.float32), torch.rand(K, 1)),
                                  dynamic_shapes=dict(w={2: torch.export.Dim('n', min=6, max=999)}, temp=None))
    for n in (11, 23, 40):
        args = heads(torch.float32, n), torch.rand(K, 1)
        torch.testing.assert_close(program.module()(*args), tssa_naive.tssa(*args))


def test_tiles_grow_with_the_threads(monkeypatch):
    w = torch.empty(1).expand(1, 6, 65536, 64)
    for threads in (1, 2, 8):
        monkeypatch.setattr(torch, 'get_num_threads', lambda threads=threads: threads)
        assert tiles.tile_of(w) == threads * tiles.TILE // (6 * 64)
    monkeypatch.setattr(torch, 'get_num_threads', lambda: 64)
    assert tiles.tile_of(w) is None  # the caches of so many cores hold it


@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16, torch.float32])
def test_products_of_every_tile_are_wide(dtype):
    x, y = torch.randn(2, 1, 2, 12, 5).to(dtype)
    parts = [part.clone() for part in tiles.products(5, x, y)]
    assert torch.equal(torch.cat(parts, 2), x.float() * y.float()) and len(parts) == 3
