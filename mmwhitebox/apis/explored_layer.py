"""What is told of one layer of a model: its maps, its tokens, their colours and rates."""
import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from mmwhitebox.interpret.attention_map import ScaledDotProduct, has_representatives, representative_footprints
from mmwhitebox.interpret.capture import Call
from mmwhitebox.interpret.coding_rate import QUANTITIES, STAGES, coding_rate, layer_rates
from mmwhitebox.interpret.map_factors import map_factors
from mmwhitebox.interpret.membership import has_gate, has_membership
from mmwhitebox.interpret.token_pca import token_colours
from mmwhitebox.interpret.what_if import possible
from mmwhitebox.models.attention_layers import attention_layers, compression_layers
from mmwhitebox.models.backbones import TimmViT
from mmwhitebox.registry import ATTENTIONS

from .array_container import ArrayBook

NAMES = dict(gram=('a', 'a'), softmax=('q', 'k'), product=('b', 'a'), matrix=('rows', 'rows'))
GROUP_AXES = dict(a=2, q=1, k=1, b=1, rows=1)


class Watch:
    """The layers of a model, and what they did in one pass.

    Attributes:
        model (nn.Module): The model.
        attentions (dict[str, nn.Module]): Its attention layers, by name.
        compressing (dict[str, CompressionLayer]): Those that compress in subspaces.
        calls (Mapping[str, Call]): What :attr:`modules` did.
        products (Mapping[str, ScaledDotProduct | None]): What timm's attentions computed.
    """

    def __init__(self, model: nn.Module) -> None:
        self.model = model
        self.attentions = attention_layers(model)
        self.compressing = {layer.name: layer for layer in compression_layers(model)}
        self.calls: Mapping[str, Call] = {}
        self.products: Mapping[str, ScaledDotProduct | None] = {}

    @property
    def modules(self) -> dict[str, nn.Module]:
        """What to give to :func:`mmwhitebox.interpret.capture`."""
        layers = {f'{name}/layer': self.model.get_submodule(name.rpartition('.')[0]) for name in self.attentions}
        parts = {name: module for layer in self.compressing.values() for name, module in layer.modules.items()}
        return {**self.attentions, **layers, **parts}

    @property
    def timm_attentions(self) -> dict[str, nn.Module]:
        """What to give to :func:`mmwhitebox.interpret.attention_map.scaled_dot_products`."""
        return {name: module for name, module in self.attentions.items() if hasattr(module, 'fused_attn')}


def describe_layers(watch: Watch, hw_shape: tuple[int, int], skipped: set[int], book: ArrayBook) -> list[dict]:
    """All layers that ran, as JSON can say them; their arrays are added to the book.

    Args:
        watch (Watch): After the pass, the model as it was in it.
        hw_shape (tuple[int, int]): Patch grid (H, W).
        skipped (set[int]): Numbers of layers that were skipped: they have no maps, and what leaves them is what came.
        book (ArrayBook): For the arrays.
    """
    return [_describe(watch, number, name, hw_shape, number in skipped, book)
            for number, name in enumerate(watch.attentions) if f'{name}/layer' in watch.calls]


def _describe(watch: Watch, number: int, name: str, hw_shape: tuple[int, int], skipped: bool, book: ArrayBook) -> dict:
    attention, call, layer = watch.attentions[name], watch.calls[name], watch.calls[f'{name}/layer']
    tokens = layer.output
    if len(call.args) > 1 and isinstance(call.args[1], Tensor):  # the queries alone leave it, the patches pass by
        tokens = torch.cat([tokens, layer.args[1]], 1)
    num_extra = tokens.shape[1] - hw_shape[0] * hw_shape[1]
    key = f'layer{number}.'
    return dict(
        number=number, name=name, part=part_of(name), attention=kind_of(attention), heads=attention.num_heads,
        head_dims=attention.head_dims if hasattr(attention, 'head_dims') else attention.head_dim,
        extra=extra_names(watch.model, name, num_extra),
        maps={} if skipped else _maps(watch, name, key, book),
        tokens=book.add(f'{key}tokens', tokens[0], 1),
        pca=book.add(f'{key}pca', token_colours(tokens[0, num_extra:])),
        rates=_rates(watch, name, skipped), what_if=possible(attention))


def part_of(name: str) -> str:
    """'decoder' of a layer in a decode head or in the decoder of a masked autoencoder, else 'encoder'."""
    return 'decoder' if {'decode_head', 'neck'} & set(name.split('.')) else 'encoder'


def kind_of(attention: nn.Module) -> str:
    """What an attention is called in configs, also if it is an adapted one; of timm's, the name of its class."""
    registered = {cls: name for name, cls in ATTENTIONS.module_dict.items()}
    return next((registered[cls] for cls in type(attention).__mro__ if cls in registered), type(attention).__name__)


def extra_names(model: nn.Module, name: str, count: int) -> list[str]:
    """What the extra tokens of a layer stand for, in their order.

    Args:
        model (nn.Module): The model.
        name (str): Of the layer.
        count (int): Extra tokens E.
    """
    if 'decode_head' in name.split('.'):
        classes = [str(label) for label in (getattr(model, 'dataset_meta', None) or {}).get('classes') or ()]
        return classes if len(classes) == count else [f'class {i}' for i in range(count)]
    backbone = getattr(model, 'backbone', model)
    if isinstance(backbone, TimmViT):
        names = [label for key, label in (('cls_token', 'class token'), ('dist_token', 'distillation token'))
                 if getattr(backbone.vit, key, None) is not None]
    else:
        names = ['class token']
    return [*names, *(f'register {i + 1}' for i in range(count - len(names)))][:count]


def _maps(watch: Watch, name: str, key: str, book: ArrayBook) -> dict:
    attention, args = watch.attentions[name], watch.calls[name].args
    maps: dict[str, Any] = {}
    factors = map_factors(attention, args, watch.products.get(name))
    if factors is not None:
        left, right = NAMES[factors.form]
        arrays = {left: book.add(f'{key}{left}', factors.left, GROUP_AXES[left])}
        arrays[right] = arrays[left] if factors.right is factors.left else \
            book.add(f'{key}{right}', factors.right, GROUP_AXES[right])
        scale = dict(scale=factors.scale) if factors.form == 'softmax' else {}
        alone = {} if getattr(attention, 'updates_all_tokens', True) else dict(queries='extra')
        maps['attention'] = dict(form=factors.form, **arrays, **scale, **alone)
    if has_representatives(attention):
        contracted = factors.form == 'product' and attention.contraction  # then A is the contraction times them
        learned = getattr(attention, 'representatives', None) is not None
        maps['representatives'] = dict(
            a=book.add(f'{key}footprints', representative_footprints(attention, args)[0], 2) if contracted
            else maps['attention']['a'], pool=None if learned else attention.pool_size)
    if has_membership(attention):
        maps['membership'] = book.add(f'{key}membership', attention.membership(*args)[0], 1)
    if has_gate(attention):
        maps['gate'] = book.add(f'{key}gate', attention.gate(*args)[0], 1)
    return maps


def _rates(watch: Watch, name: str, skipped: bool) -> dict | None:
    """Quantity -> stage -> value; None where there is none, as the compression of heads without subspaces."""
    if name in watch.compressing:
        found = layer_rates(watch.compressing[name], watch.calls)
        if skipped:  # what it did inside is not what leaves it
            found = dict.fromkeys(found, found['input'])
    elif getattr(watch.attentions[name], 'updates_all_tokens', True):
        layer = watch.calls[f'{name}/layer']
        last = 'feedforward' if hasattr(watch.model.get_submodule(name.rpartition('.')[0]), 'norm2') else 'attention'
        found = {stage: dict(expansion=coding_rate(z), expansion_normalized=coding_rate(z, normalize=True))
                 for stage, z in (('input', layer.args[0]), (last, layer.output))}
    else:
        return None
    return {quantity: {stage: _finite(found.get(stage, {}).get(quantity)) for stage in STAGES}
            for quantity in QUANTITIES}


def _finite(value: Tensor | None) -> float | None:
    """A number of the first image; None if it is none."""
    return None if value is None or not math.isfinite(value[0]) else value[0].item()
