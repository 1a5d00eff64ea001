r"""An equal network for inference: what does not depend on the image is worked out once, in float64.

    convolution, batch norm     W' = diag(g / sigma) W,   b' = g (b - mu) / sigma + beta     of the running statistics
    map, LayerScale             W' = diag(gamma) W,       b' = gamma b
    ISTA                        relu(x + eta (x D - x D^T D) - eta lambda) = relu(x M - eta lambda),
                                M = I + eta (D - D^T D)
    orthonormal bases           U' = U, instead of a QR decomposition in every call
    positions of one size       a table, instead of sines or an interpolation

What stays, with the reason:

- The weight and the bias of a LayerNorm: torch's kernel on a CPU takes longer without them (1.6 times at 384 channels),
  a map that had no bias would get one, and the maps behind are the subspaces U that the measures read.
- ODL: its steps are inside products already, and D^T D in the place of D and D^T is no fewer products for r >= 2.
- Step sizes of CBSA: they scale a few representatives; DEPICT's gamma shares its map with the subspaces.
- The sum X + update: a product that adds to X in its memory, or a sum in the memory of the update, takes 0 to 10 % off
  the time of that product (2 threads of a CPU, 197 to 16,384 tokens), at most 1 % off a model's, and the update that
  hooks, measures and the explorer read would not be there.
- The last norm of an encoder: its output, the features, is read by more than the head.
"""
import copy
from collections import Counter
from collections.abc import Callable, Iterator

import timm.layers
import torch
import torch.nn.functional as F
from mmcv.cnn import ConvModule
from timm.layers import LayerScale
from timm.models.vision_transformer import Block
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils.fusion import fuse_conv_bn_weights
from torch.nn.utils.parametrize import is_parametrized, type_before_parametrizations

from mmwhitebox.errors import UserError
from mmwhitebox.ops.precision import add_product, autocasts, widen

from .access import unwrap
from .attention import (
    CBSA,
    DMSA,
    MHSA,
    MSSA,
    TSSA,
    AgentAttention,
    ChannelAttention,
    ReLULinearAttention,
    SpectralAttention,
)
from .attention.spectral import LinearAttention
from .backbones import WhiteBoxTransformer
from .backbones.vit_adaptation import AdaptedAgent, AdaptedReLULinear
from .feedforward import ISTA, MLP, ODL
from .layers import ClassAttentionLayer, TransformerLayer
from .unwatched import is_unwatched

MARK = 'optimized.for_inference'
"""Ends the key by which the state of an optimised model is known."""
LAST_MAPS = {
    **dict.fromkeys((AgentAttention, CBSA, ChannelAttention, DMSA, LinearAttention, MHSA, MSSA, ReLULinearAttention,
                     SpectralAttention, TSSA), 'to_out'),
    **dict.fromkeys((AdaptedAgent, AdaptedReLULinear, timm.layers.Attention), 'proj'),
    **dict.fromkeys((MLP, timm.layers.Mlp, timm.layers.GluMlp, timm.layers.SwiGLU), 'fc2')}
"""The Linear map that a module ends with."""
SCALED = {TransformerLayer: (('attn', 'scale1'), ('ffn', 'scale2')), ClassAttentionLayer: (('ffn', 'scale2'), ),
          Block: (('attn', 'ls1'), ('mlp', 'ls2'))}
"""Layer -> (module, LayerScale that alone reads its output)."""


def optimize(model: nn.Module, size: tuple[int, int] | None = None) -> nn.Module:
    """An equal model for inference, see :mod:`mmwhitebox.models.optimization`; the given one stays as it is.

    Outputs, attention maps, tokens between layers and subspaces are equal to 1e-5 of their size in float32. Layers keep
    their classes; the output of an attention or a feed-forward that LayerScale follows holds its factor already. What
    has hooks, or is used in several places, stays as it is. Its state dict is of its own kind: it loads into
    ``optimize`` of a model of the same config and ``size``, and into no other.

    Args:
        model (nn.Module): A segmentor, classifier, encoder or head; in a wrapper (``torch.compile``, distributed
            training) the model inside is taken.
        size (tuple[int, int], optional): Height and width in pixels of the images that come to the encoder, whose
            positions are made once; other sizes still work. Defaults to None: of no size.

    Returns:
        nn.Module: A copy, in evaluation mode, without gradients. ``train()`` is refused.

    Raises:
        UserError: ``model`` is a mere list of modules, or ``size`` is smaller than a patch.
    """
    model = unwrap(model)
    if isinstance(model, (nn.Sequential, nn.ModuleList, nn.ModuleDict)):
        raise UserError(f'optimize: a {type(model).__name__} is a mere list of modules; give the models in it.')
    model = copy.deepcopy(model).eval().requires_grad_(False)
    uses = Counter(id(module) for _, module in model.named_modules(remove_duplicate=False))

    def is_free(module: nn.Module) -> bool:
        return uses[id(module)] == 1 and is_unwatched(module, type(module))

    with torch.no_grad():
        for module in list(model.modules()):
            _make_weights(module)
            _fold_batch_norms(module, is_free)
            _fold_layer_scales(module, is_free)
            for name, child in module.named_children():
                if type(child) is ISTA and is_free(child):
                    setattr(module, name, FoldedISTA(child))
            if size is not None and isinstance(module, WhiteBoxTransformer):
                grid = module.stem.grid_size(*size)
                positions = module.pos_embed.rule if isinstance(module.pos_embed, FixedPositions) else module.pos_embed
                if grid != tuple(getattr(positions, 'grid_size', ())):
                    module.pos_embed = FixedPositions(positions, grid)
    others = {name: child for name, child in model._modules.items() if name != 'optimized'}
    model._modules.clear()
    model.add_module('optimized', Optimized())  # the first, to refuse a training before a part is in that mode
    model._modules.update(others)
    return model.eval().requires_grad_(False)


class Optimized(nn.Module):
    """Sign of an optimised model, as a part of it: in its state dict, and where it is to be trained."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer('for_inference', torch.ones(()))
        self.register_load_state_dict_pre_hook(self._check)

    @staticmethod
    def _check(self, state_dict: dict, prefix: str, local_metadata: dict, strict: bool, missing: list,
               unexpected: list, errors: list) -> None:
        if f'{prefix}for_inference' not in state_dict:
            errors.append('These are the weights of a model that is not optimised: load them into that, and call '
                          'optimize(model) then.')

    def train(self, mode: bool = True) -> 'Optimized':
        """Stay in evaluation mode."""
        if mode:
            raise UserError('An optimised model is for inference only: train the model that it was made of.')
        return super().train(False)


class FoldedISTA(ISTA):
    """relu(x M - eta lambda), M = I + eta (D - D^T D) made once: :class:`.feedforward.ISTA` in one product.

    Under autocast the product is of M - I, and x is added in its own precision, as in ISTA.

    Args:
        ista (ISTA): Where the dictionary comes from.
    """

    def __init__(self, ista: ISTA) -> None:
        nn.Module.__init__(self)
        self.eta, self.lam, self.impl = ista.eta, ista.lam, ista.impl
        d = ista.weight.double()
        m = torch.eye(len(d), dtype=d.dtype, device=d.device) + self.eta * (d - d.mT @ d)
        self.weight = nn.Parameter(m.mT.to(ista.weight.dtype).contiguous())  # M^T, as Linear has it

    def forward(self, x: Tensor) -> Tensor:
        """New tokens, (B, N, D), not negative."""
        shift = self.eta * self.lam
        if not autocasts(x):
            return F.linear(x, self.weight, x.new_full((x.shape[-1], ), -shift)).relu_()
        tokens = x.flatten(0, -2)
        change = self.weight - torch.eye(x.shape[-1], dtype=self.weight.dtype, device=x.device)
        return add_product(tokens, tokens, change.mT).sub_(shift).relu_().view(x.shape)


class FoldedLayerScale(nn.Identity):
    """Where a LayerScale was: under autocast an update leaves it in float32 as before, and so do the tokens."""

    def forward(self, x: Tensor) -> Tensor:
        """The update, (B, N, D)."""
        return widen(x) if autocasts(x) else x


class FixedPositions(nn.Module):
    """Positions of one grid as a table; those of others as before.

    Args:
        rule (nn.Module): Positions of any grid, (H, W) -> (1, E + H*W, D).
        hw_shape (tuple[int, int]): The grid (H, W).
    """

    fixed: Tensor

    def __init__(self, rule: nn.Module, hw_shape: tuple[int, int]) -> None:
        super().__init__()
        self.rule = rule
        self.hw_shape = tuple(hw_shape)
        self.register_buffer('fixed', rule(self.hw_shape).clone())
        self.register_buffer('grid', torch.tensor(self.hw_shape))  # in the state: another grid may have as many tokens
        self.register_load_state_dict_pre_hook(self._check)

    @staticmethod
    def _check(self, state_dict: dict, prefix: str, local_metadata: dict, strict: bool, missing: list,
               unexpected: list, errors: list) -> None:
        grid = state_dict.get(f'{prefix}grid')
        if grid is not None and tuple(grid.tolist()) != self.hw_shape:
            errors.append(f'{prefix}fixed: positions of a grid {tuple(grid.tolist())}, these are of {self.hw_shape}: '
                          'call optimize with the size that the weights were saved with.')

    def forward(self, hw_shape: tuple[int, int]) -> Tensor:
        """Positions of the extra tokens and of an H x W grid, (1, E + H*W, D)."""
        return self.fixed if tuple(hw_shape) == self.hw_shape else self.rule(hw_shape)


def _rounded(value: Tensor, like: Tensor) -> nn.Parameter:
    return nn.Parameter(value.to(like), requires_grad=False)


def _make_weights(module: nn.Module) -> None:
    """Weights that are made of others, as orthonormal bases.

    torch's ``remove_parametrizations`` would take them from the class, which a copy shares with what it was made of.
    """
    if is_parametrized(module):
        made = {name: getattr(module, name) for name in module.get_submodule('parametrizations')._modules}
        module.__class__ = type_before_parametrizations(module)
        del module.parametrizations
        for name, value in made.items():
            module.register_parameter(name, nn.Parameter(value))


def _convolutions(module: nn.Module) -> Iterator[tuple[nn.Module, str, str]]:
    """Parts of a module that run one after the other: where they are, names of a convolution and its norm."""
    if isinstance(module, nn.Sequential):
        names = list(module._modules)
        yield from ((module, *pair) for pair in zip(names, names[1:]))
    elif isinstance(module, ConvModule) and module.order[:2] == ('conv', 'norm') and module.with_norm:
        yield module, 'conv', str(module.norm_name)


def _fold_batch_norms(module: nn.Module, is_free: Callable[[nn.Module], bool]) -> None:
    for owner, conv_name, norm_name in _convolutions(module):
        conv, norm = getattr(owner, conv_name), getattr(owner, norm_name)
        if not (is_free(conv) and is_free(norm)):
            continue
        if type(conv) is nn.Conv2d and isinstance(norm, _BatchNorm) and norm.track_running_stats:
            wide = [None if value is None else value.double() for value in (
                conv.weight, conv.bias, norm.running_mean, norm.running_var)]
            affine = [None if value is None else value.double() for value in (norm.weight, norm.bias)]
            weight, bias = fuse_conv_bn_weights(*wide, norm.eps, *affine)
            conv.bias = _rounded(bias, conv.weight)
            conv.weight = _rounded(weight, conv.weight)
            setattr(owner, norm_name, nn.Identity())


def _fold_layer_scales(layer: nn.Module, is_free: Callable[[nn.Module], bool]) -> None:
    for part, name in SCALED.get(type(layer), ()):
        scale, module = getattr(layer, name), getattr(layer, part)
        if type(scale) is not LayerScale or not is_free(scale) or module._forward_hooks:  # a hook reads its output
            continue
        gamma = scale.gamma.double()[:, None]
        if type(module) is ODL and is_free(module):
            module.dictionary_out = _rounded(gamma * module.dictionary_out.double(), module.dictionary_out)
        else:
            last = getattr(module, LAST_MAPS.get(type(module), ''), None)
            if type(last) is not nn.Linear or not is_free(last):
                continue
            if last.bias is not None:
                last.bias = _rounded(gamma[:, 0] * last.bias.double(), last.bias)
            last.weight = _rounded(gamma * last.weight.double(), last.weight)
        setattr(layer, name, FoldedLayerScale())
