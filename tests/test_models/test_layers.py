"""What a layer does with an update of its tokens."""
import pytest
import torch
from timm.layers import DropPath, LayerScale
from torch import nn
from torch.nn.utils import prune
from torch.utils._python_dispatch import TorchDispatchMode

from mmwhitebox.models.layers import add_update
from mmwhitebox.ops import use


def written_out(x, update, gamma, rate):
    """timm draws a number for each image and divides by the share that stays."""
    keep = torch.empty(len(x), 1, 1, dtype=update.dtype).bernoulli_(1 - rate) / (1 - rate) if rate else 1
    return x + gamma * update * keep


@pytest.mark.parametrize('rate', [0., 0.5])
@pytest.mark.parametrize('form', ['torch', 'naive'])
def test_an_update_is_scaled_dropped_and_added(rate, form):
    x, update = torch.randn(2, 8, 5, 4, dtype=torch.float64).requires_grad_().unbind()
    scale = LayerScale(4, 0.3).double()
    nn.init.normal_(scale.gamma)
    leaves, grad = [x, update, scale.gamma], torch.randn(8, 5, 4, dtype=torch.float64)
    torch.manual_seed(3)
    expected = written_out(x, update, scale.gamma, rate)
    torch.manual_seed(3)
    with use(form):
        got = add_update(x, update, scale, DropPath(rate).train() if rate else nn.Identity())
    torch.testing.assert_close(got, expected)
    torch.testing.assert_close(torch.autograd.grad(got, leaves, grad), torch.autograd.grad(expected, leaves, grad))


def test_without_a_scale_it_is_added():
    x, update = torch.randn(2, 2, 3, 4).unbind()
    assert torch.equal(add_update(x, update, nn.Identity(), nn.Identity()), x + update)


def test_a_narrow_update_is_added_in_the_precision_of_the_tokens():
    x, update, scale = torch.randn(2, 3, 4), torch.randn(2, 3, 4).bfloat16(), LayerScale(4, 0.3)
    with torch.autocast('cpu', torch.bfloat16):
        out = add_update(x, update, scale, nn.Identity())
    torch.testing.assert_close(out, x + 0.3 * update.float())


def test_one_pass_over_the_tokens_makes_one_tensor():
    made = []

    class Note(TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            made.append(func.name())
            return func(*args, **(kwargs or {}))

    with Note():
        add_update(torch.zeros(1, 3, 4), torch.ones(1, 3, 4), LayerScale(4, 0.3), nn.Identity())
    assert 'aten::addcmul' in made and not {'aten::mul.Tensor', 'aten::add.Tensor'} & set(made)


def test_a_scale_that_is_watched_or_changed_is_called():
    x, update, scale, seen = torch.randn(1, 3, 4), torch.randn(1, 3, 4), LayerScale(4, 0.3), []
    handle = scale.register_forward_hook(lambda *_: seen.append(1) or torch.zeros(1, 3, 4))
    assert torch.equal(add_update(x, update, scale, nn.Identity()), x) and seen
    handle.remove()
    prune.custom_from_mask(scale, 'gamma', torch.tensor([1., 0., 1., 0.]))
    with torch.no_grad():
        scale.gamma_orig.fill_(2.)
    torch.testing.assert_close(add_update(x, update, scale, nn.Identity()),
                               x + update * torch.tensor([2., 0., 2., 0.]))
