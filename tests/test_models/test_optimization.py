"""An optimised model is equal: every arch, attention, feed-forward and decoder, after training, loaded, exported."""
import copy
import re

import pytest
import timm.layers
import torch
from mmcv.cnn import ConvModule
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from timm.layers import LayerScale
from torch import nn

from mmwhitebox.apis import init_model, optimize
from mmwhitebox.apis.export import LogitsNetwork
from mmwhitebox.checkpoints import load_weights
from mmwhitebox.errors import CheckpointError, UserError
from mmwhitebox.models.attention import BaseAttention
from mmwhitebox.models.backbones import TimmViT, WhiteBoxTransformer
from mmwhitebox.models.embeddings import ConvStem
from mmwhitebox.models.feedforward import ISTA
from mmwhitebox.models.optimization import FixedPositions
from mmwhitebox.models.selfsup.crate_mae import CRATEMAEDecoder
from mmwhitebox.registry import ATTENTIONS, FEEDFORWARDS
from mmwhitebox.registry import MODELS as OWN_MODELS
from tests.configs import CONFIGS, reduced

D, SIZE, SIZES = 32, 64, ((64, 64), (48, 80))
ATTENTION_TYPES = sorted(name for name, cls in ATTENTIONS.module_dict.items()
                         if issubclass(cls, BaseAttention) and cls.updates_all_tokens)
SCALED = [name for name, cls in sorted(FEEDFORWARDS.module_dict.items()) if cls.is_residual]
DECODERS = [name for name in CONFIGS if re.search('(decoder|depict|segmenter).*_mini_ade20k', name)]
pytestmark = pytest.mark.filterwarnings("ignore:attention type='Linear'")


def encoder(arch='cbt-tiny', **kwargs):
    """An arch, narrow and shallow, an image size of its own."""
    small = dict(WhiteBoxTransformer.arch_zoo[arch], embed_dims=D, num_heads=2, num_layers=2)
    if not isinstance(small['attention'], dict):
        small['attention'] = [small['attention'][0], small['attention'][-1]]
    small.update(kwargs.pop('changes', {}))
    torch.manual_seed(0)
    return WhiteBoxTransformer(small, img_size=SIZE, **kwargs)


def total(outputs):
    """A number that every output moves."""
    outputs = outputs if isinstance(outputs, (tuple, list)) else [outputs]
    return sum(output.float().square().mean() for output in outputs)


def trained(model, run=None, size=SIZES[0]):
    """Two steps, in which every parameter and every statistic leaves its start."""
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=0.02)
    model.train()
    for _ in range(2):
        optimizer.zero_grad()
        total((run or model)(torch.randn(2, 3, *size))).backward()
        optimizer.step()
    return model.eval()


def assert_equal(run, optimized, *inputs):
    with torch.no_grad():
        expected, found = run(*inputs), optimized(*inputs)
    for one, other in zip(*[value if isinstance(value, (tuple, list)) else [value] for value in (expected, found)],
                          strict=True):
        torch.testing.assert_close(other, one, rtol=0, atol=1e-5 * one.abs().max().item())


def assert_folded(model):
    left = [name for name, module in model.named_modules()
            if isinstance(module, (nn.modules.batchnorm._BatchNorm, LayerScale)) or type(module) is ISTA]
    assert not left and not any(p.requires_grad for p in model.parameters())
    assert not any(module.training for module in model.modules())


@pytest.mark.parametrize('arch', sorted(WhiteBoxTransformer.arch_zoo))
def test_every_arch(arch):
    """Feature maps and class tokens at two sizes, and the state in a fresh model."""
    model = trained(encoder(arch, out_type='raw', out_indices=(0, 1), drop_path_rate=0.1))
    before = copy.deepcopy(model.state_dict())
    optimized = optimize(model, size=SIZES[1])
    left = [name for name, module in optimized.named_modules() if isinstance(module, LayerScale)]
    # the class-attention layer scales the patches, which no map precedes, too
    assert left == [f'class_layers.{i}.scale1' for i in range(len(model.class_layers))]
    fresh = optimize(encoder(arch, out_type='raw', out_indices=(0, 1)), size=SIZES[1])
    fresh.load_state_dict(copy.deepcopy(optimized.state_dict()))
    for size in SIZES:
        images = torch.randn(2, 3, *size)
        assert_equal(model, optimized, images)
        assert_equal(optimized, fresh, images)
    assert model.state_dict().keys() == before.keys()
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert not any(isinstance(module, nn.BatchNorm2d) or type(module) is ISTA for module in optimized.modules())
    assert isinstance(optimized.pos_embed, FixedPositions)


@pytest.mark.parametrize('attention', ATTENTION_TYPES)
def test_every_attention_takes_its_scale(attention):
    model = trained(encoder('tost-tiny', attention=dict(type=attention), out_type='avg_featmap'))
    optimized = optimize(model)
    assert_folded(optimized)
    assert [type(layer.attn) for layer in optimized.layers] == [type(layer.attn) for layer in model.layers]
    assert_equal(model, optimized, torch.randn(2, 3, *SIZES[1]))


@pytest.mark.parametrize('feedforward', SCALED)
def test_every_residual_feedforward_takes_its_scale(feedforward):
    model = trained(encoder('tost-tiny', feedforward=dict(type=feedforward), out_type='avg_featmap'))
    optimized = optimize(model)
    assert_folded(optimized)
    assert_equal(model, optimized, torch.randn(2, 3, *SIZES[1]))


@pytest.mark.parametrize('out_proj', ['shared', None])
def test_a_scale_that_no_map_precedes_stays(out_proj):
    model = trained(encoder('tost-tiny', attention=dict(type='MSSA', out_proj=out_proj), out_type='avg_featmap'))
    optimized = optimize(model)
    assert isinstance(optimized.layers[0].scale1, LayerScale)
    assert isinstance(optimized.layers[0].scale2, nn.Identity)
    assert_equal(model, optimized, torch.randn(2, 3, *SIZES[1]))


@pytest.mark.parametrize('name', DECODERS)
def test_every_decoder(name, tmp_path):
    """Logits of a segmentor at two sizes; the state of the optimised one in a file."""
    torch.manual_seed(0)
    cfg = reduced(name)
    model = init_model(cfg, device='cpu')
    run = LogitsNetwork(model)
    trained(run, size=SIZES[0])
    optimized = optimize(model, size=SIZES[1])
    assert_folded(optimized)
    torch.save(dict(state_dict=optimized.state_dict()), tmp_path / 'optimized.pth')
    fresh = optimize(init_model(cfg, device='cpu'), size=SIZES[1])
    load_weights(fresh, tmp_path / 'optimized.pth')
    for size in SIZES:
        images = torch.randn(1, 3, *size)
        assert_equal(run, LogitsNetwork(optimized), images)
        assert_equal(LogitsNetwork(optimized), LogitsNetwork(fresh), images)


def test_every_decode_head_is_among_the_decoders():
    own = {name for name, cls in OWN_MODELS.module_dict.items() if issubclass(cls, BaseDecodeHead)}
    assert own <= {reduced(name).model.decode_head.type.removeprefix('mmwhitebox.') for name in DECODERS}


@pytest.mark.parametrize('name', ['cbt_mini_imagenet', 'dmst_mini_imagenet'])
def test_a_classifier(name):
    model = trained(LogitsNetwork(init_model(reduced(name), device='cpu')))
    assert_equal(model, optimize(model), torch.randn(2, 3, *SIZES[1]))
    assert_equal(model, LogitsNetwork(optimize(model.model)), torch.randn(2, 3, *SIZES[1]))


def test_the_decoder_of_a_masked_autoencoder():
    torch.manual_seed(0)
    decoder = CRATEMAEDecoder(D, 2, 2, patch_size=4).eval()
    assert_equal(decoder, optimize(decoder), torch.randn(2, 13, D), (3, 4))


@pytest.mark.parametrize('kwargs', [
    dict(), dict(attention='agent'), dict(attention='relu_linear'),
    dict(model_kwargs=dict(mlp_layer=timm.layers.SwiGLU))], ids=['plain', 'agent', 'relu_linear', 'swiglu'])
def test_layer_scale_of_timm(kwargs):
    small = dict(patch_size=8, embed_dim=D, depth=2, num_heads=2, init_values=1e-5, **kwargs.pop('model_kwargs', {}))
    torch.manual_seed(0)
    model = trained(TimmViT('vit_small_patch14_dinov2', img_size=SIZE, model_kwargs=small, **kwargs))
    assert any(isinstance(module, LayerScale) for module in model.modules())
    optimized = optimize(model)
    assert_folded(optimized)
    assert_equal(model, optimized, torch.randn(1, 3, *SIZES[1]))


def test_orthonormal_bases_are_made_once():
    model = trained(encoder(attention=dict(type='MSSA', orthogonal='head')))
    optimized = optimize(model)
    assert type(optimized.layers[0].attn.proj) is nn.Linear
    assert type(model.layers[0].attn.proj) is not nn.Linear
    assert_equal(model, optimized, torch.randn(1, 3, SIZE, SIZE))


def test_subspaces_and_norms_are_the_trained_ones():
    model = trained(encoder('tost-tiny', out_type='avg_featmap'))
    for layer, other in zip(model.layers, optimize(model).layers, strict=True):
        assert torch.equal(layer.attn.proj.weight, other.attn.proj.weight)
        assert torch.equal(layer.norm1.weight, other.norm1.weight)


@pytest.mark.parametrize('order, folded', [(('conv', 'norm', 'act'), True), (('norm', 'conv', 'act'), False),
                                           (('conv', 'act', 'norm'), False)])
def test_convolutions_of_mmcv(order, folded):
    torch.manual_seed(0)
    head = nn.Module()
    head.conv = ConvModule(3, 3, 3, norm_cfg=dict(type='BN'), order=order)
    trained(head, head.conv)
    optimized = optimize(head)
    assert isinstance(optimized.conv.bn, nn.Identity) == folded
    assert_equal(head.conv, optimized.conv, torch.randn(1, 3, 9, 9))


def test_a_norm_by_the_statistics_of_the_batch_stays():
    stem = ConvStem(D)
    stem.stages[0][1] = nn.BatchNorm2d(D // 8, track_running_stats=False)
    optimized = optimize(stem)
    assert isinstance(optimized.stages[0][1], nn.BatchNorm2d) and isinstance(optimized.stages[1][1], nn.Identity)
    assert_equal(lambda x: stem.eval()(x)[0], lambda x: optimized(x)[0], torch.randn(2, 3, SIZE, SIZE))


def test_batch_norms_without_their_own_parameters():
    stem = ConvStem(D, norm_cfg=dict(type='BN', affine=False))
    trained(stem, lambda x: stem(x)[0])
    optimized = optimize(stem)
    assert_equal(lambda x: stem(x)[0], lambda x: optimized(x)[0], torch.randn(2, 3, SIZE, SIZE))


def test_optimized_twice_and_for_another_size():
    model = trained(encoder('tost-tiny', out_type='avg_featmap'))
    once = optimize(model, size=SIZES[0])
    twice = optimize(once, size=SIZES[1])
    assert twice.state_dict().keys() == once.state_dict().keys()
    assert twice.pos_embed.hw_shape == (3, 5) and not isinstance(twice.pos_embed.rule, FixedPositions)
    for size in SIZES:
        assert_equal(model, twice, torch.randn(1, 3, *size))


def test_positions_of_a_table_that_fits_are_that_table():
    model = encoder()
    assert optimize(model, size=(SIZE, SIZE)).pos_embed.state_dict().keys() == {'table'}


def test_a_wrapped_model_is_taken_out():
    model = encoder()
    assert type(optimize(nn.DataParallel(model))) is WhiteBoxTransformer


def test_training_is_refused():
    optimized = optimize(encoder())
    assert optimized.eval() is optimized
    with pytest.raises(UserError, match='for inference only: train the model that it was made of'):
        optimized.train()
    assert not any(module.training for module in optimized.children())


def test_modules_in_a_list_are_refused():
    with pytest.raises(UserError, match='a Sequential is a mere list'):
        optimize(nn.Sequential(encoder()))


def test_states_of_the_other_kind_are_refused(tmp_path):
    model, optimized = encoder(), optimize(encoder())
    with pytest.raises(RuntimeError, match=r'not optimised: load them into that, and call optimize\(model\)'):
        optimized.load_state_dict(model.state_dict())
    with pytest.raises(RuntimeError, match='Unexpected key.*optimized.for_inference'):
        model.load_state_dict(optimized.state_dict())
    for name, state in (('plain', model.state_dict()), ('optimized', optimized.state_dict())):
        torch.save(dict(state_dict=state), tmp_path / f'{name}.pth')
    with pytest.raises(CheckpointError, match=r'not optimised: load them into that, and call optimize\(model\)'):
        load_weights(optimized, tmp_path / 'plain.pth')
    with pytest.raises(CheckpointError, match=r'optimized.pth holds the weights of an optimised model'):
        load_weights(model, tmp_path / 'optimized.pth')


@pytest.mark.parametrize('arch', ['cbt-tiny', 'tost-tiny'])
def test_half_precision(arch):
    """Under autocast and in bfloat16 an optimised model is as far from float32 as the model itself, and keeps types."""
    model = trained(encoder(arch, out_type='avg_featmap'))
    optimized, images = optimize(model), torch.randn(2, 3, SIZE, SIZE)
    with torch.no_grad():
        exact = model(images)[0]
        with torch.autocast('cpu', torch.bfloat16):
            pairs = [(model(images)[0], optimized(images)[0])]
        pairs.append((copy.deepcopy(model).bfloat16()(images.bfloat16())[0],
                      optimize(copy.deepcopy(model).bfloat16())(images.bfloat16())[0]))
    for plain, found in pairs:
        assert found.dtype == plain.dtype
        assert (found - exact).norm() <= 2 * (plain - exact).norm()


def test_folds_are_made_in_float64():
    """The algebra is exact: in float64 there is no more than rounding."""
    for arch in ('cbt-tiny', 'tost-tiny'):
        model = trained(encoder(arch, out_type='avg_featmap')).double()
        optimized, images = optimize(model), torch.randn(1, 3, SIZE, SIZE, dtype=torch.float64)
        with torch.no_grad():
            torch.testing.assert_close(optimized(images)[0], model(images)[0], rtol=1e-11, atol=1e-11)


def test_compiled_and_exported():
    model = trained(encoder('cbt-tiny', changes=dict(num_layers=1)))
    optimized, images = optimize(model), torch.randn(1, 3, SIZE, SIZE)
    program = torch.export.export(optimized, (images, ))
    assert_equal(model, program.module(), images)
    assert_equal(model, torch.compile(optimized, backend='aot_eager', fullgraph=True), images)


def test_onnx(tmp_path):
    pytest.importorskip('onnxscript')
    onnxruntime = pytest.importorskip('onnxruntime')
    model = trained(encoder('tost-tiny', out_type='avg_featmap', changes=dict(num_layers=1)))
    images = torch.randn(1, 3, SIZE, SIZE)
    optimized = optimize(model, size=(SIZE, SIZE))
    torch.onnx.export(optimized, (images, ), tmp_path / 'model.onnx', dynamo=True, verbose=False)
    session = onnxruntime.InferenceSession(tmp_path / 'model.onnx')
    found = session.run(None, {session.get_inputs()[0].name: images.numpy()})[0]
    expected = model(images)[0].detach()
    torch.testing.assert_close(torch.tensor(found), expected, rtol=0, atol=1e-4 * expected.abs().max().item())


def test_what_is_used_twice_stays():
    """Two layers of one attention, each with a scale of its own; two norms after one convolution."""
    model = trained(encoder('tost-tiny'))
    model.layers[1].attn = model.layers[0].attn
    assert_equal(model, optimize(model), torch.randn(1, 3, SIZE, SIZE))
    conv = nn.Conv2d(3, 4, 3)
    heads = nn.ModuleDict({name: nn.Sequential(conv, nn.BatchNorm2d(4)) for name in 'ab'})

    class Head(nn.Module):
        def __init__(self):
            super().__init__()
            self.heads = heads

        def forward(self, x):
            return tuple(head(x) for head in self.heads.values())

    head = trained(Head())
    assert_equal(head, optimize(head), torch.randn(1, 3, 8, 8))


def test_what_has_hooks_stays():
    model, seen = trained(encoder('cbt-tiny')), []
    stem = next(module for module in model.modules() if isinstance(module, nn.BatchNorm2d))
    for part in (stem, model.layers[0].ffn):
        part.register_forward_hook(lambda module, args, output: seen.append(type(module)) or output + 1)
    assert_equal(model, optimize(model), torch.randn(1, 3, SIZE, SIZE))
    assert seen == 2 * [nn.BatchNorm2d, ISTA]
    model = trained(encoder('tost-tiny'))
    model.layers[0].attn.register_forward_hook(lambda module, args, output: output + 1)
    assert_equal(model, optimize(model), torch.randn(1, 3, SIZE, SIZE))


@pytest.mark.parametrize('arch', ['cbt-tiny', 'tost-tiny'])
def test_positions_of_another_grid_of_as_many_tokens_are_refused(arch):
    model = encoder(arch)
    state = optimize(model, size=(32, 128)).state_dict()
    with pytest.raises(RuntimeError, match='call optimize with the size that the weights were saved with'):
        optimize(model, size=(128, 32)).load_state_dict(state)
