"""Every model can be differentiated in every way in its naive form; the fast forms say so where they cannot."""
import pytest
import torch
from mmengine.registry import MODELS
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from torch.func import functional_call, grad, jvp, vjp, vmap

from mmwhitebox import ops
from mmwhitebox.models.attention import build_attention
from mmwhitebox.models.backbones import TimmViT, WhiteBoxTransformer
from mmwhitebox.models.feedforward import build_feedforward
from mmwhitebox.ops.cbsa import mapped_cbsa
from mmwhitebox.ops.tssa import eager
from mmwhitebox.registry import ATTENTIONS, FEEDFORWARDS

FAMILIES = {arch: arch for arch in ('cbt-tiny', 'crate-tiny', 'crate-cbt-tiny', 'tost-tiny', 'dmst-tiny', 'vit-tiny')}
FAMILIES['crate-alpha-base'] = 'crate-alpha-base'
FAMILIES['cbt attention only'] = dict(feedforward=None)
FAMILIES['cbt learned dwc'] = dict(attention=dict(type='CBSA', pool_size=2, representatives='learned', dwc=True))
FAMILIES['cbt inverse'] = dict(attention=dict(type='CBSA', pool_size=2, contraction='inverse'))
FAMILIES['cbt Spectral'] = dict(attention=dict(type='Spectral'))
FAMILIES['cbt Channel'] = dict(attention=dict(type='Channel'))
FAMILIES['cbt Agent'] = dict(attention=dict(type='Agent', pool_size=2))
FAMILIES['cbt ReLULinear'] = dict(attention=dict(type='ReLULinear'))
FAMILIES['dmst gelu'] = dict(attention=dict(type='DMSA', gate_act='gelu'))
FAMILIES['dmst TPSUSA'] = dict(attention=dict(type='DMSA', membership_act='st_tokens'))

CBSA = dict(type='CBSA', num_heads=2, pool_size=2)
MSSA = dict(type='MSSA', num_heads=2, head_dims=5, out_proj='shared')
SEGMENTER = dict(type='mmwhitebox.SegmenterMaskTransformerHead', num_layers=1, num_heads=2, embed_dims=16)
DECODERS = {
    'cbt': dict(num_layers=2, attention=CBSA),
    'depict-sa': dict(num_layers=2, attention=MSSA),
    'depict-sa orthogonal': dict(num_layers=2, attention=dict(MSSA, orthogonal='all')),
    'depict-ca': dict(num_layers=1, attention=MSSA, class_attention=dict(type='MSCA', num_heads=2)),
    'segmenter': SEGMENTER,
}


class Tokens(torch.nn.Module):
    """An attention or a feed-forward of tokens (B, N, D) on a grid of 3 x 4."""

    def __init__(self, module):
        super().__init__()
        self.module = module

    def forward(self, x):
        if not hasattr(self.module, 'updates_all_tokens'):
            return self.module(x)
        return self.module(x[:, :2], x[:, 2:]) if 'MSCA' in type(self.module).__name__ else self.module(x, (3, 4))


class Whole(torch.nn.Module):
    """A backbone or a head with one input and one output."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, x):
        if isinstance(self.model, BaseDecodeHead):
            return self.model([x])
        return torch.cat([out.flatten(1) for out in self.model(x)], 1)


def encoder(name, **options):
    family = name if name in WhiteBoxTransformer.arch_zoo else f'{name.split()[0]}-tiny'
    arch = dict(WhiteBoxTransformer.arch_zoo[family], embed_dims=16, num_heads=2, num_layers=2)
    if not isinstance(arch['attention'], dict):
        arch['attention'] = [arch['attention'][0], dict(arch['attention'][-1], pool_size=2)]
    elif arch['attention']['type'] == 'CBSA':
        arch['attention'] = CBSA
    overrides = {} if FAMILIES[name] == name else FAMILIES[name]
    return WhiteBoxTransformer(arch=arch, img_size=32, **overrides, **options)


def decoder(name):
    return MODELS.build(dict(
        dict(type='mmwhitebox.WhiteBoxMaskHead', in_channels=16, channels=16, num_classes=3), **DECODERS[name]))


def timm_vit(attention, **options):
    return TimmViT('vit_tiny_patch16_224', img_size=32, attention=attention, out_type='cls_token', pool_size=2,
                   model_kwargs=dict(embed_dim=16, depth=2, num_heads=2), **options)


def cases():
    """Name -> (how to build it, shape of its input)."""
    found = {f'attention {name}': (lambda name=name: Tokens(build_attention(
        dict(type=name), embed_dims=16, num_heads=2, pool_size=2)), (2, 14, 16))
             for name in sorted(ATTENTIONS.module_dict)}
    found |= {f'feed-forward {name}': (lambda name=name: Tokens(build_feedforward(dict(type=name), embed_dims=16)),
                                       (2, 14, 16)) for name in sorted(FEEDFORWARDS.module_dict)}
    found |= {f'encoder {name}': (lambda name=name: Whole(encoder(name)), (2, 3, 32, 48)) for name in FAMILIES}
    found |= {f'positions {rule}': (lambda rule=rule: Whole(encoder('vit-tiny', interpolate_mode=rule)), (2, 3, 32, 48))
              for rule in ('bilinear', 'dino')}
    found |= {f'timm {name}': (lambda name=name: Whole(timm_vit(name)), (2, 3, 32, 48))
              for name in (None, 'agent', 'relu_linear')}
    found |= {f'decoder {name}': (lambda name=name: Whole(decoder(name)), (2, 16, 3, 4)) for name in DECODERS}
    return found


CASES = cases()


def built(case):
    """Model in float64, its parameters, and an input."""
    torch.manual_seed(3)
    build, shape = CASES[case]
    model = build().double().eval()
    return model, {k: p.detach() for k, p in model.named_parameters()}, torch.randn(shape, dtype=torch.float64)


def dot(a, b):
    return sum((a[k] * b[k]).sum() for k in a)


@pytest.fixture
def naive():
    with ops.use('naive'):
        yield


@pytest.mark.parametrize('case', CASES)
def test_a_hessian_vector_product_is_the_difference_of_gradients(case, naive):
    model, parameters, x = built(case)
    state = {'input': x, **parameters}
    weights = torch.randn_like(model(x))

    def loss(state):
        return (weights * functional_call(model, {k: state[k] for k in parameters}, state['input']).square()).sum()

    def gradient(state):
        state = {k: p.detach().requires_grad_() for k, p in state.items()}
        grads = torch.autograd.grad(loss(state), list(state.values()), create_graph=True, materialize_grads=True)
        return state, dict(zip(state, grads))

    v = {k: torch.randn_like(p) for k, p in state.items()}
    leaves, g = gradient(state)
    product = dict(zip(state, torch.autograd.grad(dot(g, v), list(leaves.values()), materialize_grads=True)))
    eps = 1e-6
    ahead, behind = ({k: p + sign * eps * v[k] for k, p in state.items()} for sign in (1, -1))
    difference = {k: (a - b) / (2 * eps) for (k, a), b in zip(gradient(ahead)[1].items(), gradient(behind)[1].values())}
    size = sum(d.norm() for d in difference.values())
    for key in state:
        assert (product[key] - difference[key]).norm() < 1e-5 * size, key


@pytest.mark.parametrize('case', CASES)
def test_forward_mode_agrees_with_backward(case, naive):
    """u . J v = v . J^T u."""
    model, parameters, x = built(case)

    def function(parameters, x):
        return functional_call(model, parameters, x)

    v = {k: torch.randn_like(p) for k, p in parameters.items()}, torch.randn_like(x)
    out, tangent = jvp(function, (parameters, x), v)
    u = torch.randn_like(out)
    back, back_x = vjp(function, parameters, x)[1](u)
    torch.testing.assert_close((u * tangent).sum(), dot(back, v[0]) + (back_x * v[1]).sum())


@pytest.mark.parametrize('case', CASES)
def test_gradients_of_every_sample_at_once(case, naive):
    model, parameters, x = built(case)

    def loss(parameters, sample):
        return functional_call(model, parameters, sample[None]).square().sum()

    together = vmap(grad(loss), in_dims=(None, 0))(parameters, x)
    for i, sample in enumerate(x):
        for key, value in grad(loss)(parameters, sample).items():
            torch.testing.assert_close(together[key][i], value, msg=lambda text, key=key: f'{key}: {text}')


@pytest.mark.parametrize('build', [lambda: encoder('cbt-tiny', with_cp=True), lambda: timm_vit('agent', with_cp=True)])
def test_recomputed_layers_have_the_form_they_had(build):
    """The backward pass, and the layers that run again in it, may come after the context."""
    model, x = build(), torch.randn(1, 3, 32, 32)
    with ops.use('naive'):
        loss = model(x)[0].square().sum()
    parameters = [p for p in model.parameters() if p.requires_grad]
    first = torch.autograd.grad(loss, parameters, create_graph=True)
    sum(g.square().sum() for g in first).backward()


FAST = {
    'cbsa': lambda x: ops.cbsa(x, x[:, :, :2], *torch.ones(2, 2, 1, 1)),
    'mapped cbsa': lambda x: mapped_cbsa(x, x[:, :, :2], *torch.ones(2, 2, 1, 1), torch.ones(2, 8)),
    'tssa': lambda x: ops.tssa(x, torch.ones(2, 1)),
    'scale_by_second_moment': lambda x: eager.scale_by_second_moment(x, x[..., 0].square()),
    'rope_2d': lambda x: ops.rope_2d(x[:, 0], (3, 3)),
    'pool_representatives': lambda x: ops.pool_representatives(x[:, 0], (3, 3), 2, 1),
}


@pytest.mark.parametrize('name', FAST)
def test_fast_forms_name_the_form_with_a_second_derivative(name):
    x = torch.randn(1, 2, 9, 4, requires_grad=True)
    message = f"{name.removeprefix('mapped ')}: .* `with mmwhitebox.ops.use\\('naive'\\):` .* impl='naive'"
    first, = torch.autograd.grad(FAST[name](x).square().sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match=message):
        first.sum().backward()
    with pytest.raises(RuntimeError, match=message):
        jvp(FAST[name], (x.detach(), ), (x.detach(), ))
    for grad_enabled in (True, False):
        with pytest.raises(RuntimeError, match=message), torch.set_grad_enabled(grad_enabled):
            vmap(FAST[name])(x.detach()[None])
    expected = torch.autograd.grad(FAST[name](x).square().sum(), x)[0]
    torch.testing.assert_close(grad(lambda x: FAST[name](x).square().sum())(x.detach()), expected)


def test_sparsemax_is_differentiable_twice_and_names_the_form_for_the_rest():
    z = torch.randn(3, 4)
    for transform in (lambda f: jvp(f, (z, ), (z, )), lambda f: vmap(f)(z[None])):
        with pytest.raises(RuntimeError, match="sparsemax: .* impl='naive'"):
            transform(ops.sparsemax)
        transform(lambda z: ops.sparsemax(z, impl='naive'))


@pytest.mark.parametrize('name', ['cbsa', 'mapped cbsa', 'tssa', 'scale_by_second_moment'])
def test_the_gradient_of_a_sum_has_no_silent_second_derivative(name):
    """The incoming gradient is constant there, the saved tokens are not."""
    x = torch.randn(1, 2, 9, 4, requires_grad=True)
    first, = torch.autograd.grad(FAST[name](x).sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="impl='naive'"):
        first.sum().backward()


@pytest.mark.parametrize('op', ['cbsa', 'tssa', 'dmsa', 'ista'])
def test_kernels_name_the_form_with_a_second_derivative(op):
    launch = pytest.importorskip('mmwhitebox.ops.kernels.launch')
    if not (launch.INTERPRETED or torch.cuda.is_available()):
        pytest.skip('needs a GPU, or TRITON_INTERPRET=1 before triton is imported')
    x = torch.randn(1, 2, 9, 16, device='cuda' if torch.cuda.is_available() else 'cpu', requires_grad=True)
    calls = dict(cbsa=lambda: ops.cbsa(x, x[:, :, :4], *x.new_ones(2, 2, 1, 1), impl='triton'),
                 tssa=lambda: ops.tssa(x, x.new_ones(2, 1), impl='triton'),
                 dmsa=lambda: ops.dmsa(x, x[..., 0], impl='triton'),
                 ista=lambda: ops.ista(x, x.new_ones(16, 16) / 16, impl='triton'))
    first, = torch.autograd.grad(calls[op]().square().sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match=f"{op}: .* impl='naive'"):
        first.sum().backward()
