"""CBSA's appendix A: learned representatives and the depth-wise convolution."""
import copy

import pytest
import torch
import torch.nn.functional as F
from mmengine.registry import MODELS
from torch import nn

from mmwhitebox import ops
from mmwhitebox.interpret.attention_map import representative_footprints
from mmwhitebox.models.attention import CBSA

D, K, G, GRID, EXTRA = 16, 2, 3, (4, 5), 2
M, P, N = G * G, D // K, EXTRA + GRID[0] * GRID[1]


def build(**kwargs):
    return CBSA(D, K, pool_size=G, **kwargs).double()


@pytest.fixture
def x():
    return torch.randn(3, N, D, dtype=torch.float64)


@pytest.mark.parametrize('impl', ['naive', 'torch'])
@pytest.mark.parametrize('contraction', ['softmax', 'inverse', None])
def test_learned_representatives_replace_the_pool_and_nothing_else(impl, contraction, x):
    """Steps 2 to 4 written out with the parameter as R0; one for all images."""
    module = build(representatives='learned', contraction=contraction, impl=impl)
    assert module.representatives.shape == (1, K, M, P)
    w = module.proj(x).unflatten(-1, (K, P)).transpose(1, 2)
    r0 = module.representatives.repeat(3, 1, 1, 1)
    a = (P**-0.5 * r0 @ w.mT).softmax(-1)
    r = r0 + module.step_rep * (a @ w)
    if contraction == 'softmax':
        c = (P**-0.5 * r @ r.mT).softmax(-1) @ r
    elif contraction == 'inverse':
        c = torch.linalg.inv(torch.eye(M, dtype=r.dtype) + P / (M * 0.01) * r @ r.mT) @ r
    else:
        c = r
    expected = module.to_out((module.step_x * (a.mT @ c)).transpose(1, 2).flatten(2))
    y = module(x, GRID)
    torch.testing.assert_close(y, expected)
    leaves, cotangent = list(module.parameters()), torch.randn_like(y)
    grads = [torch.autograd.grad(out, leaves, cotangent) for out in (y, expected)]
    torch.testing.assert_close(*grads)
    torch.testing.assert_close(representative_footprints(module, (x, GRID)), a)


def test_they_start_small_and_in_autocast_keep_their_type(x):
    torch.manual_seed(0)
    values = CBSA(192, 3, representatives='learned').representatives
    assert values.shape == (1, 3, 64, 64) and values.detach().std().item() == pytest.approx(0.02, rel=0.05)
    module = build(representatives='learned').float()
    with torch.autocast('cpu', torch.bfloat16):
        y = module(x.float(), GRID)
    y.float().square().sum().backward()
    torch.testing.assert_close(y.float(), module(x.float(), GRID), rtol=0.05, atol=0.05)
    assert module.representatives.grad.dtype == torch.float32 and module.representatives.grad.abs().sum() > 0


def convolution(module, w):
    """The 3 x 3 stencil of every channel on the patch grid, tap by tap, zeros around it."""
    h, width = GRID
    grid = F.pad(w[:, EXTRA:].unflatten(1, GRID), (0, 0, 1, 1, 1, 1))  # (B, H + 2, W + 2, K*p)
    taps = sum(module.dwc.weight[:, 0, i, j] * grid[:, i:i + h, j:j + width] for i in range(3) for j in range(3))
    return torch.cat([w.new_zeros(len(w), EXTRA, D), (taps + module.dwc.bias).flatten(1, 2)], dim=1)


@pytest.mark.parametrize('representatives', ['pool', 'learned'])
@pytest.mark.parametrize('impl', ['naive', 'torch'])
def test_the_convolution_of_the_tokens_joins_before_the_map_back(representatives, impl, x):
    module = build(dwc=True, representatives=representatives, impl=impl)
    plain = copy.deepcopy(module)
    plain.dwc, plain.to_out = None, nn.Identity()
    expected = module.to_out(plain(x, GRID) + convolution(module, module.proj(x)))
    torch.testing.assert_close(module(x, GRID), expected)


def test_class_tokens_get_no_convolution(x):
    module = build(dwc=True)
    changed = copy.deepcopy(module)
    nn.init.normal_(changed.dwc.weight)
    difference = (module(x, GRID) - changed(x, GRID)).abs().sum((0, 2))
    assert (difference[:EXTRA] == 0).all() and (difference[EXTRA:] > 0).all()


def test_by_default_neither_is_there():
    assert set(build().state_dict()) == {'proj.weight', 'to_out.weight', 'to_out.bias', 'step_rep', 'step_x'}
    with pytest.raises(ValueError, match=r"representatives must be one of \('pool', 'learned'\), got 'queries'"):
        build(representatives='queries')


@pytest.mark.parametrize('kwargs', [dict(representatives='learned'), dict(dwc=True)])
def test_in_encoder_and_decoder(kwargs):
    """By config, whole in the graph, on grids of other sizes, exported as computed."""
    attention = dict(type='CBSA', pool_size=2, **kwargs)
    arch = dict(embed_dims=D, num_heads=K, num_layers=1, attention=attention, feedforward=None)
    encoder = MODELS.build(dict(type='mmwhitebox.WhiteBoxTransformer', arch=arch, img_size=32, out_type='featmap'))
    head = MODELS.build(dict(
        type='mmwhitebox.WhiteBoxMaskHead', in_channels=D, channels=D, num_classes=3, num_layers=1,
        attention=dict(attention, num_heads=K)))
    model = nn.Sequential(encoder, head).eval()
    for size in ((32, 32), (48, 80)):
        assert model(torch.randn(2, 3, *size)).shape == (2, 3, size[0] // 16, size[1] // 16)
    model(torch.randn(2, 3, 32, 48)).square().sum().backward()
    assert not [name for name, p in model.named_parameters() if p.grad is None and not name.startswith('1.conv_seg')]
    images = torch.randn(1, 3, 32, 48)
    program = torch.export.export(model.requires_grad_(False), (images, )).module()
    torch.testing.assert_close(program(images), model(images), rtol=1e-4, atol=1e-5)
    with ops.use('naive'):
        torch.testing.assert_close(program(images), model(images), rtol=1e-4, atol=1e-5)
