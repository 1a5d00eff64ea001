"""What if: every disturbance is the one that editing the weights by hand makes, and nothing of it stays."""
import copy
from functools import lru_cache

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrize

from mmwhitebox.errors import UserError
from mmwhitebox.interpret.perturbation import attention_projections
from mmwhitebox.interpret.what_if import checked, disturbed, possible
from mmwhitebox.models.attention_layers import attention_layers
from mmwhitebox.models.backbones import TimmViT, WhiteBoxTransformer
from mmwhitebox.models.decode_heads import WhiteBoxMaskHead

SIZE = (40, 60)  # a grid of 3 x 4 patches, the last ones over the edge
ATTENTIONS = dict(
    cbsa=dict(type='CBSA', pool_size=2), dwc=dict(type='CBSA', pool_size=2, dwc=True), mssa=dict(type='MSSA'),
    shared=dict(type='MSSA', out_proj='shared'), no_map=dict(type='MSSA', num_heads=2, out_proj=None),
    tssa=dict(type='TSSA'), dmsa=dict(type='DMSA'), mhsa=dict(type='MHSA'), agent=dict(type='Agent', pool_size=2),
    channel=dict(type='Channel'), spectral=dict(type='Spectral'), relu=dict(type='ReLULinear'))


class Segmentor(nn.Module):
    """An encoder and a mask decoder of five classes."""

    def __init__(self, backbone, attention, class_attention=None):
        super().__init__()
        self.backbone = backbone
        self.decode_head = WhiteBoxMaskHead(16, 16, num_classes=5, num_layers=2, attention=attention,
                                            num_class_layers=1, class_attention=class_attention)

    def forward(self, images):
        return self.decode_head(self.backbone(images))


def encoder(attention, **arch):
    arch = dict(embed_dims=16, num_layers=2, num_heads=2, attention=attention, feedforward=dict(type='ISTA'), **arch)
    return WhiteBoxTransformer(arch, img_size=48, out_type='featmap')


def vit(name='vit_tiny_patch16_224', **kwargs):
    return TimmViT(name, img_size=48, model_kwargs=dict(embed_dim=16, depth=2, num_heads=2), **kwargs)


MODELS = {
    **{name: lambda attention=attention: (encoder(attention), {**attention, 'num_heads': 2})
       for name, attention in ATTENTIONS.items()},
    'timm': lambda: (vit(), dict(type='CBSA', num_heads=2, pool_size=2)),
    'adapted': lambda: (vit(attention='agent', pool_size=2), dict(type='MSSA', num_heads=2, out_proj='shared')),
    'eva': lambda: (vit('vit_small_patch16_dinov3'),
                    dict(type='MSSA', num_heads=2, orthogonal='head', head_dims=4)),
    'msca': lambda: (encoder(ATTENTIONS['cbsa']), dict(type='MSSA', num_heads=2), dict(type='MSCA', num_heads=2)),
}


@lru_cache
def model_of(name):
    """One of the models, the same for all tests: each leaves it as it was."""
    torch.manual_seed(0)
    model = Segmentor(*MODELS[name]()).eval().double()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() == 1:  # no bias is zero, no scale one
                parameter.add_(0.1 * torch.randn_like(parameter))
    return model


@torch.no_grad()
def run(model, what_if=(), images=None):
    torch.manual_seed(1)
    images = torch.randn(1, 3, *SIZE).double() if images is None else images
    with disturbed(model, what_if, SIZE):
        return model(images)


@pytest.fixture(params=MODELS)
def model(request):
    model = model_of(request.param)
    before, clean = copy.deepcopy(model.state_dict()), run(model)
    yield model
    assert all(torch.equal(value, model.state_dict()[key]) for key, value in before.items())
    assert torch.equal(run(model), clean)


def silenced(attention, head):
    """An attention whose map back has no columns of a head, edited by hand."""
    attention = copy.deepcopy(attention)
    back = getattr(attention, 'to_out', None)
    if back is None and not hasattr(attention, 'out_proj'):
        back = attention.proj
    dims = attention.head_dims if hasattr(attention, 'head_dims') else attention.head_dim
    columns = slice(head * dims, (head + 1) * dims)
    if back is not None:
        back.weight[:, columns] = 0
        return attention
    project_out = attention.project_out

    def without(heads):
        return project_out(torch.cat([heads[:, :head], 0 * heads[:, head:head + 1], heads[:, head + 1:]], 1))

    attention.project_out = without
    return attention


# One for each kind of block and encoder; what attentions differ in is their heads.
blocks = pytest.mark.parametrize('model', ['cbsa', 'dmsa', 'shared', 'timm', 'adapted', 'eva', 'msca'], indirect=True)


@torch.no_grad()
def test_a_head_off(model):
    for number, (name, attention) in enumerate(attention_layers(model).items()):
        by_hand = copy.deepcopy(model)
        by_hand.set_submodule(name, silenced(attention, 1))
        found = run(model, [dict(kind='head', layer=number, head=1)])
        torch.testing.assert_close(found, run(by_hand))
        assert not torch.equal(found, run(model))


@pytest.mark.parametrize('model', ['cbsa', 'no_map', 'mhsa', 'agent', 'relu', 'timm', 'adapted', 'eva', 'msca'],
                         indirect=True)
def test_noise(model):
    """The same as adding noise of that seed to the maps into the heads, also where they are made of other weights."""
    clean = run(model)
    for number, (name, attention) in enumerate(attention_layers(model).items()):
        found = run(model, [dict(kind='noise', layer=number, scale=0.5, seed=7)])
        assert not torch.allclose(found, clean, atol=1e-5), name
        by_hand = copy.deepcopy(model)
        if parametrize.is_parametrized(getattr(attention, 'proj', nn.Module())):
            plain = nn.Linear(16, 8, bias=False)
            plain.weight = nn.Parameter(attention.proj.weight.detach().clone())
            by_hand.set_submodule(f'{name}.proj', plain)
        generator = torch.Generator().manual_seed(7)
        with torch.no_grad():
            for weight, *_ in attention_projections(by_hand)[name]:
                noise = torch.randn(weight.shape, generator=generator).double()
                weight.add_(0.5 * weight.square().mean().sqrt() * noise)
        torch.testing.assert_close(found, run(by_hand))


class Passing(nn.Module):
    """What a layer that does nothing is."""

    def forward(self, x, *args, **kwargs):
        return x


@blocks
def test_a_layer_skipped(model):
    clean = run(model)
    for number, name in enumerate(attention_layers(model)):
        by_hand = copy.deepcopy(model)
        layer = Passing()
        layer.attn = nn.Module()  # run_block of the adapted ViT notes the grid there
        by_hand.set_submodule(name.rpartition('.')[0], layer)
        found = run(model, [dict(kind='skip', layer=number)])
        torch.testing.assert_close(found, run(by_hand))
        assert not torch.allclose(found, clean, atol=1e-6)


@pytest.mark.parametrize('value', ['inverse', None, 'softmax'])
@pytest.mark.parametrize('layer', [1, None])
def test_another_contraction(value, layer):
    model = model_of('cbsa')
    by_hand = copy.deepcopy(model)
    for number, attention in enumerate(attention_layers(by_hand).values()):
        if layer in (number, None):
            attention.contraction = value
    found = run(model, [dict(kind='contraction', layer=layer, value=value)])
    assert torch.equal(found, run(by_hand)) and torch.equal(found, run(model)) == (value == 'softmax')
    assert all(attention.contraction == 'softmax' for attention in attention_layers(model).values())


@pytest.mark.parametrize('model', ['cbsa', 'timm', 'adapted'], indirect=True)
def test_patches_erased(model):
    images = torch.randn(1, 3, *SIZE).double()
    by_hand = images.clone()
    by_hand[..., :16, 16:32] = 0   # patch 1
    by_hand[..., 32:, 48:] = 0     # patch 11, cut off by the edge
    found = run(model, [dict(kind='erase', patches=[11, 1, 1])], images)
    assert torch.equal(found, run(model, images=by_hand)) and not torch.equal(found, run(model, images=images))


@blocks
def test_all_together_and_twice(model):
    what_if = [dict(kind='noise', layer=0, scale=0.3), dict(kind='noise', layer=0, scale=0.3, seed=1),
               dict(kind='head', layer=1, head=0), dict(kind='head', layer=1, head=1), dict(kind='skip', layer=2),
               dict(kind='erase', patches=[0])]
    first = run(model, what_if)
    assert torch.equal(first, run(model, what_if)) and not torch.equal(first, run(model))


@blocks
def test_after_an_error(model):
    """In the middle of the context, and of a pass."""
    what_if = [dict(kind='noise', layer=0, scale=0.3), dict(kind='head', layer=1, head=0), dict(kind='skip', layer=2),
               dict(kind='head', layer=2, head=0), dict(kind='erase', patches=[0])]
    with pytest.raises(KeyboardInterrupt), disturbed(model, what_if, SIZE):
        raise KeyboardInterrupt
    with pytest.raises(RuntimeError):
        run(model, what_if, torch.randn(1, 5, *SIZE).double())
    assert not any(module._forward_hooks for module in model.modules())


def test_what_a_layer_can_have():
    assert [possible(attention) for attention in attention_layers(model_of('timm')).values()] == [
        ['noise', 'head', 'skip']] * 2 + [['noise', 'head', 'skip', 'contraction']] * 2


NOISE = dict(kind='noise', layer=0, scale=1)


@pytest.mark.parametrize('what_if, message', [
    (dict(kind='skip', layer=0), 'what_if is a list of disturbances, not dict.'),
    ('skip', 'what_if is a list of disturbances, not str.'),
    ([None], 'None is no kind of disturbance; there are noise, head, skip, contraction, erase.'),
    ([dict(kind='explode')], "'explode' is no kind of disturbance"),
    ([dict(layer=0)], 'None is no kind of disturbance'),
    ([dict(kind=['skip'])], 'is no kind of disturbance'),
    ([dict(kind='skip')], 'what_if, skip: it takes layer; layer is missing.'),
    ([dict(kind='skip', layer=0, head=1)], "what_if, skip: it takes layer; not 'head'."),
    ([dict(kind='skip', layer=4)], 'there is no layer 4, only 0 to 3.'),
    ([dict(kind='skip', layer=-1)], 'there is no layer -1'),
    ([dict(kind='skip', layer=True)], 'there is no layer True'),
    ([dict(kind='skip', layer='0' * 1000)], r"there is no layer '0{39}\.\.\., only"),
    ([dict(kind='skip', layer=None)], 'there is no layer None'),
    ([dict(kind='head', layer=0, head=2)], 'layer 0 has no head 2, only 0 to 1.'),
    ([{**NOISE, 'scale': -1}], 'scale is a number from 0 to 100, not -1.'),
    ([{**NOISE, 'scale': float('nan')}], 'scale is a number from 0 to 100, not nan.'),
    ([{**NOISE, 'scale': '1'}], "scale is a number from 0 to 100, not '1'."),
    ([{**NOISE, 'scale': True}], 'scale is a number from 0 to 100, not True.'),
    ([{**NOISE, 'seed': -1}], 'there is no seed -1'), ([{**NOISE, 'seed': 0.5}], 'there is no seed 0.5'),
    ([{**NOISE, 'seed': 2**64}], 'there is no seed'),
    ([dict(kind='contraction', layer=0, value=None)], 'layer 0 is Attention, which has no contraction; CBSA has.'),
    ([dict(kind='contraction', layer=2, value='tanh')], "value is softmax, inverse or null, not 'tanh'."),
    ([dict(kind='contraction', layer=2, value=[])], r'value is softmax, inverse or null, not \[\].'),
    ([dict(kind='erase', patches=[12])], 'a grid of 3 x 4 has no patch 12, only 0 to 11.'),
    ([dict(kind='erase', patches=[0, '1'])], "has no patch '1'"),
    ([dict(kind='erase', patches='0')], 'patches is a list of indices'),
    ([dict(kind='erase', patches=3)], 'patches is a list of indices'),
])
def test_refusals(what_if, message):
    model = model_of('timm')
    with pytest.raises(UserError, match=message) as error:
        checked(model, what_if, SIZE)
    assert '\n' not in str(error.value)
    entered = False
    with pytest.raises(UserError), disturbed(model, [NOISE, *what_if] if isinstance(what_if, list) else what_if, SIZE):
        entered = True
    assert not entered


def test_no_layer_with_a_contraction():
    with pytest.raises(UserError, match='no layer of this model has a contraction; CBSA has.'):
        checked(model_of('mssa'), [dict(kind='contraction', layer=None, value=None)], SIZE)


def test_defaults_are_filled_in():
    given = ({'scale': 0.5, 'layer': 1, 'kind': 'noise'}, dict(kind='erase', patches=(3, 1, 3)))
    assert checked(model_of('timm'), given, SIZE) == [
        dict(kind='noise', layer=1, scale=0.5, seed=0), dict(kind='erase', patches=[1, 3])]
