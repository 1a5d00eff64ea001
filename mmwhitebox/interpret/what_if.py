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
from mmwhitebox.ops.cbsa import CONTRACTIONS

from .capture import attention_layers
from .patch_maps import patch_grid, patch_size
from .perturbation import attention_projections, perturbed

KINDS = dict(noise=('layer', 'scale', 'seed'), head=('layer', 'head'), skip=('layer', ),
             contraction=('layer', 'value'), erase=('patches', ))
OPTIONAL = dict(seed=0)
MOST_NOISE = 100


def possible(attention: nn.Module) -> list[str]:
    """What can be disturbed in a layer with this attention."""
    return ['noise', 'head', 'skip', *(['contraction'] if isinstance(attention, CBSA) else [])]


def checked(model: nn.Module, what_if: Sequence[Mapping], image_size: tuple[int, int]) -> list[dict]:
    """Disturbances with all their keys, in order.

    Args:
        model (nn.Module): A classifier or segmentor.
        what_if (Sequence[Mapping]): Each has ``kind`` and the keys of :data:`KINDS`; ``layer`` is a number of
            :func:`mmwhitebox.interpret.attention_layers`, of a contraction also None, all layers.
        image_size (tuple[int, int]): Height and width of the model's input in pixels.

    Raises:
        UserError: A disturbance is of no such form, or its layer does not have it.
    """
    if isinstance(what_if, (str, Mapping)) or not isinstance(what_if, Sequence):
        raise UserError(f'what_if is a list of disturbances, not {type(what_if).__name__}.')
    layers = list(attention_layers(model).values())
    return [_checked(layers, model, item, image_size) for item in what_if]


def _checked(layers: list[nn.Module], model: nn.Module, item: Any, image_size: tuple[int, int]) -> dict:
    kind = item.get('kind') if isinstance(item, Mapping) else None
    if not isinstance(kind, str) or kind not in KINDS:
        raise UserError(f'what_if: {str(kind if isinstance(item, Mapping) else item)[:60]!r} is no kind of disturbance; '
                        f'there are {", ".join(KINDS)}.')
    keys = KINDS[kind]
    unknown = [str(key)[:30] for key in item if key not in ('kind', *keys)]
    missing = [key for key in keys if key not in item and key not in OPTIONAL]
    if unknown or missing:
        raise UserError(f'what_if, {kind}: it takes {", ".join(keys)}' + (f', and not {joined(unknown, 3)}' if unknown else
                                                                         f'; {", ".join(missing)} is missing') + '.')
    item = {'kind': kind, **{key: item.get(key, OPTIONAL.get(key)) for key in keys}}
    if kind == 'erase':
        rows, columns = patch_grid(model, image_size)
        if not isinstance(item['patches'], Sequence) or isinstance(item['patches'], str):
            raise UserError('what_if, erase: patches is a list of indices.')
        wrong = [patch for patch in item['patches'] if not _is_index(patch, rows * columns)]
        if wrong:
            raise UserError(f'what_if, erase: there is no patch {joined([str(patch)[:30] for patch in wrong], 3)}; the '
                            f'grid has {rows} x {columns}, 0 to {rows * columns - 1}.')
        return {**item, 'patches': sorted(set(item['patches']))}
    number = item['layer']
    if number is None and kind == 'contraction':
        if not any(isinstance(layer, CBSA) for layer in layers):
            raise UserError('what_if, contraction: no layer of this model has one; CBSA has.')
    else:
        if not _is_index(number, len(layers)):
            raise UserError(f'what_if, {kind}: there is no layer {str(number)[:30]}' + (
                f'; there are {len(layers)}, 0 to {len(layers) - 1}.' if layers else ': the model has no attention.'))
        if kind not in possible(layers[number]):
            raise UserError(f'what_if, {kind}: layer {number} is {type(layers[number]).__name__}, which has none; '
                            'CBSA has.')
    if kind == 'contraction' and (item['value'] is not None and not isinstance(item['value'], str)
                                  or item['value'] not in CONTRACTIONS):
        raise UserError(f'what_if, contraction: value is softmax, inverse or null, not {str(item["value"])[:30]!r}.')
    if kind == 'head' and not _is_index(item['head'], layers[number].num_heads):
        raise UserError(f'what_if, head: layer {number} has no head {str(item["head"])[:30]}; it has '
                        f'{layers[number].num_heads}, 0 to {layers[number].num_heads - 1}.')
    if kind == 'noise':
        scale, seed = item['scale'], item['seed']
        if isinstance(scale, bool) or not isinstance(scale, (int, float)) or not 0 <= scale <= MOST_NOISE:
            raise UserError(f'what_if, noise: scale is a number from 0 to {MOST_NOISE}, not {str(scale)[:30]!r}.')
        if not _is_index(seed, 2**63):
            raise UserError(f'what_if, noise: seed is an integer, not negative, not {str(seed)[:30]!r}.')
    return item


def _is_index(value: Any, count: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < count


@contextmanager
def disturbed(model: nn.Module, what_if: Sequence[Mapping], image_size: tuple[int, int]) -> Iterator[list[dict]]:
    """A context in which a model is disturbed, in all the ways of a list together.

    No weight is changed but by noise, and that is taken back; the rest are hooks and settings, which are removed, also
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
        stack.callback(model.backbone.register_forward_pre_hook(erase).remove)


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
        merge = attention.merge_heads  # the map back is the projection again, or none: there is no module to hook
        attention.merge_heads = lambda heads: silence(merge(heads))
        try:
            yield
        finally:
            del attention.merge_heads
        return
    back = attention.to_out if hasattr(attention, 'to_out') else attention.proj
    handle = back.register_forward_pre_hook(lambda module, args: (silence(args[0]), *args[1:]))
    try:
        yield
    finally:
        handle.remove()
