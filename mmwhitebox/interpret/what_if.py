r"""What if: a model disturbed in one place, to see how its answer changes; afterwards it is what it was, bit by bit.

    noise        U <- U + scale rms(U) E                   of one layer, see :mod:`.perturbation`
    head         V_k <- 0                                  the rows of the map back that read head k
    skip         layer(X) = X                              the whole layer, feed-forward included
    contraction  C(R) of CBSA is another                   softmax (eq. 8), inverse (eq. 7), none
    erase        x_patch <- 0                              the mean colour of a normalised image

**reading**: a head is switched off behind everything that mixes heads (norms, gates) and before the bias of the map
back, which no head owns.
"""
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from mmwhitebox.errors import UserError, joined
from mmwhitebox.models.attention import CBSA, BaseAttention
from mmwhitebox.models.attention.mssa import SoftmaxProjection
from mmwhitebox.models.attention_layers import attention_layers
from mmwhitebox.models.backbones import TimmViT, WhiteBoxTransformer
from mmwhitebox.ops.cbsa import CONTRACTIONS

from .patch_maps import patch_grid, patch_size
from .perturbation import attention_projections, perturbed

KINDS = dict(noise=('layer', 'scale', 'seed'), head=('layer', 'head'), skip=('layer', ),
             contraction=('layer', 'value'), erase=('patches', ))
DEFAULTS = dict(seed=0)
MOST_NOISE = 100
MOST_SHOWN = 40  # characters


def possible(attention: nn.Module) -> list[str]:
    """What can be disturbed in a layer with this attention."""
    return ['noise', 'head', 'skip', *(['contraction'] if isinstance(attention, CBSA) else [])]


def checked(model: nn.Module, what_if: Sequence[Mapping], image_size: tuple[int, int]) -> list[dict]:
    """Disturbances with all their keys, in order.

    Args:
        model (nn.Module): A classifier or segmentor.
        what_if (Sequence[Mapping]): Each has ``kind`` and the keys of :data:`KINDS`; ``layer`` is a number of
            :func:`mmwhitebox.interpret.attention_layers`, of a contraction also None, all layers; ``seed`` defaults to
            0; ``patches`` are indices of the patch grid, row major.
        image_size (tuple[int, int]): Height and width of the model's input in pixels.

    Raises:
        UserError: A disturbance is of no such form, or its layer does not have it.
    """
    if isinstance(what_if, str) or not isinstance(what_if, Sequence):
        raise UserError(f'what_if is a list of disturbances, not {type(what_if).__name__}.')
    attentions = list(attention_layers(model).values())
    items = [_complete(item) for item in what_if]
    for item in items:
        if item['kind'] == 'erase':
            item['patches'] = _checked_patches(item['patches'], patch_grid(model, image_size))
            continue
        attention = _checked_layer(item, attentions)
        if item['kind'] == 'head':
            _check_index('head', f'layer {item["layer"]} has no head', item['head'], attention.num_heads)
        elif item['kind'] == 'contraction' and item['value'] not in CONTRACTIONS:
            raise UserError(f'what_if, contraction: value is softmax, inverse or null, not {_shown(item["value"])}.')
        elif item['kind'] == 'noise':
            scale = item['scale']
            if isinstance(scale, bool) or not isinstance(scale, (int, float)) or not 0 <= scale <= MOST_NOISE:
                raise UserError(f'what_if, noise: scale is a number from 0 to {MOST_NOISE}, not {_shown(scale)}.')
            _check_index('noise', 'there is no seed', item['seed'], 2**63)
    return items


def _complete(item: Any) -> dict:
    """A disturbance with all keys of its kind and no other."""
    kind = item.get('kind') if isinstance(item, Mapping) else item
    if not isinstance(item, Mapping) or not isinstance(kind, str) or kind not in KINDS:
        raise UserError(f'what_if: {_shown(kind)} is no kind of disturbance; there are {", ".join(KINDS)}.')
    keys = KINDS[kind]
    unknown = [_shown(key) for key in item if key not in ('kind', *keys)]
    missing = [key for key in keys if key not in item and key not in DEFAULTS]
    if unknown or missing:
        wrong = f'not {joined(unknown, 3)}' if unknown else f'{joined(missing)} is missing'
        raise UserError(f'what_if, {kind}: it takes {", ".join(keys)}; {wrong}.')
    return {'kind': kind, **{key: item.get(key, DEFAULTS.get(key)) for key in keys}}


def _checked_layer(item: dict, attentions: list[nn.Module]) -> nn.Module | None:
    """The attention of the layer that a disturbance names; None if it names all."""
    kind, number = item['kind'], item['layer']
    if kind == 'contraction' and number is None:
        if not any(isinstance(attention, CBSA) for attention in attentions):
            raise UserError('what_if, contraction: no layer of this model has a contraction; CBSA has.')
        return None
    _check_index(kind, 'there is no layer', number, len(attentions))
    if kind not in possible(attentions[number]):
        raise UserError(f'what_if, {kind}: layer {number} is {type(attentions[number]).__name__}, which has no {kind}; '
                        'CBSA has.')
    return attentions[number]


def _checked_patches(patches: Any, hw_shape: tuple[int, int]) -> list[int]:
    if isinstance(patches, str) or not isinstance(patches, Sequence):
        raise UserError(f'what_if, erase: patches is a list of indices, not {_shown(patches)}.')
    for patch in patches:
        _check_index('erase', f'a grid of {hw_shape[0]} x {hw_shape[1]} has no patch', patch, hw_shape[0] * hw_shape[1])
    return sorted(set(patches))


def _check_index(kind: str, what: str, value: Any, count: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < count:
        raise UserError(f'what_if, {kind}: {what} {_shown(value)}' + (f', only 0 to {count - 1}.' if count else '.'))


def _shown(value: Any) -> str:
    """A value of a stranger, short."""
    return repr(value) if len(repr(value)) <= MOST_SHOWN else f'{repr(value)[:MOST_SHOWN]}...'


@contextmanager
def disturbed(model: nn.Module, what_if: Sequence[Mapping], image_size: tuple[int, int]) -> Iterator[list[dict]]:
    """A context in which a model is disturbed, in all the ways of a list together.

    No weight is changed but by noise, which is taken back; the rest are hooks and settings, which are removed, also
    after an error.

    Args:
        model (nn.Module): A classifier or segmentor.
        what_if (Sequence[Mapping]): See :func:`checked`.
        image_size (tuple[int, int]): Height and width of the model's input in pixels.

    Yields:
        list[dict]: The disturbances as they are applied.

    Raises:
        UserError: See :func:`checked`; nothing has been changed then.
    """
    items = checked(model, what_if, image_size)
    with ExitStack() as stack:
        if any(item['kind'] == 'noise' for item in items):
            stack.enter_context(parametrize.cached())  # a weight made of another one is made once, and takes the noise
        for item in items:
            _apply(stack, model, item, image_size)
        yield items


def _apply(stack: ExitStack, model: nn.Module, item: dict, image_size: tuple[int, int]) -> None:
    layers = attention_layers(model)
    name = None if item.get('layer') is None else list(layers)[item['layer']]
    if item['kind'] == 'noise':
        stack.enter_context(perturbed(attention_projections(model)[name], item['scale'], item['seed']))
    elif item['kind'] == 'head':
        stack.enter_context(head_off(layers[name], item['head']))
    elif item['kind'] == 'skip':
        layer = model.get_submodule(name.rpartition('.')[0])
        stack.callback(layer.register_forward_hook(lambda module, args, output: args[0]).remove)
    elif item['kind'] == 'contraction':
        for attention in [layers[name]] if name else [a for a in layers.values() if isinstance(a, CBSA)]:
            stack.callback(setattr, attention, 'contraction', attention.contraction)
            attention.contraction = item['value']
    else:
        erase = partial(_erase, keep=patch_mask(model, item['patches'], image_size))
        for encoder in model.modules():  # an average of the weights, as of self-supervised models, has one of its own
            if isinstance(encoder, (TimmViT, WhiteBoxTransformer)):
                stack.callback(encoder.register_forward_pre_hook(erase).remove)


def patch_mask(model: nn.Module, patches: Sequence[int], image_size: tuple[int, int]) -> Tensor:
    """Where an image stays when patches are erased, (height, width): 1, and 0 in the patches."""
    (rows, columns), (height, width) = patch_grid(model, image_size), patch_size(model)
    mask = torch.ones(rows * columns)
    mask[list(patches)] = 0
    mask = mask.view(rows, 1, columns, 1).expand(-1, height, -1, width).reshape(rows * height, columns * width)
    return mask[:image_size[0], :image_size[1]]


def _erase(module: nn.Module, args: tuple, keep: Tensor) -> tuple:
    return (args[0].masked_fill(keep.to(args[0].device) == 0, 0), *args[1:])


@contextmanager
def head_off(attention: nn.Module, head: int) -> Iterator[None]:
    """A context in which what the map back reads of a head is zero.

    Args:
        attention (nn.Module): Of this package, or timm's.
        head (int): Its number.
    """
    dims = attention.head_dims if isinstance(attention, BaseAttention) else attention.head_dim

    def silence(merged: Tensor) -> Tensor:
        merged = merged.clone()
        merged[..., head * dims:(head + 1) * dims] = 0
        return merged

    if isinstance(attention, SoftmaxProjection) and attention.out_proj != 'independent':
        merge, own = attention.merge_heads, vars(attention).get('merge_heads')
        attention.merge_heads = lambda heads: silence(merge(heads))  # the map back is the projection, or there is none
        try:
            yield
        finally:
            del attention.merge_heads
            if own is not None:  # another head is off
                attention.merge_heads = own
        return
    back = attention.to_out if hasattr(attention, 'to_out') else attention.proj
    with back.register_forward_pre_hook(lambda module, args: (silence(args[0]), *args[1:])):
        yield
