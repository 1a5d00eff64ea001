"""An optimised model is equal: every arch, attention, feed-forward and decoder, after training, loaded, exported."""
import copy
import re

import pytest
import torch
from mmcv.cnn import ConvModule
from mmengine.registry import MODELS
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
from mmwhitebox.models.optimization import FixedPositions, FoldedISTA
from mmwhitebox.models.selfsup.crate_mae import CRATEMAEDecoder
from mmwhitebox.registry import ATTENTIONS, FEEDFORWARDS
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
