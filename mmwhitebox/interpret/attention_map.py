r"""Attention maps: who looks at what, on the image (CBSA, NeurIPS 2025, figure 7).

    softmax(s Q K^T)          self- and cross-attention: row i is what token i gathers
    A^T A                     CBSA: how far two tokens share their representatives; A = softmax_tokens(s R0 W^T)
    A                         CBSA: row j is the footprint of representative j

A query is a row of one of these matrices: the class token of an encoder, a class of a mask decoder, a patch, a
representative. Its map is that row over the patches; extra tokens (class tokens) are left out of the map.
"""
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from mmwhitebox.models.attention import CBSA, AgentAttention, BaseAttention
from mmwhitebox.models.decode_heads import WhiteBoxMaskHead
from mmwhitebox.ops import extract

from .capture import capture
from .patch_maps import patch_grid, patch_maps


class ScaledDotProduct(NamedTuple):
    """One fused attention: softmax(scale Q K^T + mask).

    Attributes:
        query (Tensor): Q, (B, K, M, p).
        key (Tensor): K, (B, K, N, p).
        mask (Tensor | None): Added to the scores; where it is boolean, False hides a key.
        scale (float): Of the scores.
    """

    query: Tensor
    key: Tensor
    mask: Tensor | None
    scale: float

    def matrix(self) -> Tensor:
        """(B, K, M, N), rows summing to one."""
        scores = self.scale * self.query @ self.key.mT
        if self.mask is not None:
            hidden = self.mask.dtype == torch.bool
            scores = scores.masked_fill(~self.mask, float('-inf')) if hidden else scores + self.mask
        return scores.softmax(-1, dtype=torch.promote_types(scores.dtype, torch.float32))


class _ScoreReader(TorchFunctionMode):
    """Keeps every scaled_dot_product_attention that runs inside it, by the name of the module that it runs in."""

    def __init__(self) -> None:
        super().__init__()
        self.name: str | None = None
        self.calls: dict[str, list[dict]] = {}

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if func is F.scaled_dot_product_attention and self.name is not None:
            names = ('query', 'key', 'value', 'attn_mask', 'dropout_p', 'is_causal', 'scale')
            self.calls[self.name].append({**dict(zip(names, args)), **kwargs})
        return func(*args, **kwargs)

    def enter(self, name: str) -> None:
        """A module begins to run."""
        self.name, self.calls[name] = name, []


@contextmanager
def scaled_dot_products(attentions: dict[str, nn.Module]) -> Iterator[dict[str, ScaledDotProduct | None]]:
    """The fused attention inside each of some modules of timm, while the context lasts.

    Reading it from the fused call takes in whatever a module does before: norms of queries and keys, rotary
    positions, relative position biases, grouped heads.

    Args:
        attentions (dict[str, nn.Module]): Name -> module with timm's ``fused_attn``, which is true in the context and
            afterwards what it was.

    Yields:
        dict[str, ScaledDotProduct | None]: Filled at the end of the context. Name -> what its latest call computed,
        None if that was not just one attention in which each head has keys; modules that did not run are missing.
    """
    found: dict[str, ScaledDotProduct | None] = {}
    reader = _ScoreReader()
    with ExitStack() as stack:
        for name, attention in attentions.items():
            stack.callback(setattr, attention, 'fused_attn', attention.fused_attn)
            attention.fused_attn = True
            stack.callback(attention.register_forward_pre_hook(lambda *_, name=name: reader.enter(name)).remove)
            stack.callback(attention.register_forward_hook(lambda *_: setattr(reader, 'name', None)).remove)
        with reader if attentions else nullcontext():
            yield found
    found.update({name: _one_product(calls) for name, calls in reader.calls.items()})


def _one_product(calls: list[dict]) -> ScaledDotProduct | None:
    if len(calls) != 1 or calls[0].get('is_causal') or calls[0]['query'].shape[-3] != calls[0]['key'].shape[-3]:
        return None
    query, scale = calls[0]['query'], calls[0].get('scale')
    return ScaledDotProduct(query, calls[0]['key'], calls[0].get('attn_mask'),
                            query.shape[-1]**-0.5 if scale is None else scale)


def has_attention_map(attention: nn.Module) -> bool:
    """Whether a module compares tokens with tokens, so that there is an N x N map; TSSA, DMSA and Channel do not."""
    return hasattr(attention, 'attention_map') if isinstance(attention, BaseAttention) else \
        hasattr(attention, 'fused_attn')


def attention_matrix(attention: nn.Module, args: tuple, kwargs: dict | None = None) -> Tensor:
    """Attention matrix of a module for what it was called with.

    Args:
        attention (nn.Module): An attention of this package with ``attention_map``, or a timm attention.
        args (tuple): What it was called with: (tokens, grid), (queries, tokens), or a timm module's arguments.
        kwargs (dict, optional): Keyword arguments of the call (timm). Defaults to none.

    Returns:
        Tensor: (B, K, M, N): K heads, M queries (all tokens, class tokens of a cross- or class-attention),
        N tokens. Rows of softmax attentions sum to one, those of CBSA's A^T A do not.

    Raises:
        TypeError: The module has no such matrix.
    """
    if has_attention_map(attention):
        if isinstance(attention, BaseAttention):
            return attention.attention_map(*args)
        with scaled_dot_products({'': attention}) as found:
            attention(*args, **(kwargs or {}))
        if found[''] is not None:
            return found[''].matrix()
    raise TypeError(f'{type(attention).__name__} has no attention map: it does not compare tokens with tokens by '
                    'one softmax.')


def has_representatives(attention: nn.Module) -> bool:
    """Whether an attention goes through a few representatives (CBSA, and Agent, whose agents they are)."""
    return isinstance(attention, (CBSA, AgentAttention))


def representative_footprints(attention: nn.Module, args: tuple) -> Tensor:
    """What each representative gathers: the coefficients A = softmax_tokens(s R0 W^T).

    Args:
        attention (nn.Module): CBSA or Agent.
        args (tuple): What it was called with: tokens (B, N, D) and their grid (H, W).

    Returns:
        Tensor: A, (B, K, m, N), rows summing to one. Representative j = row * g + column starts as the mean of
        the (row, column) cell of the g x g pool; learned representatives have no cell.

    Raises:
        TypeError: The attention has no representatives.
    """
    if isinstance(attention, CBSA):
        return extract(*attention.tokens_and_representatives(*args), attention.step_rep)[0]
    if isinstance(attention, AgentAttention):
        _, k, _, r0 = attention.queries_keys_values_agents(*args)
        return (attention.head_dims**-0.5 * r0 @ k.mT).softmax(-1)
    raise TypeError(f'{type(attention).__name__} has no representatives; CBSA and Agent have them.')


def attention_row(attention: nn.Module, args: tuple, hw_shape: tuple[int, int], query: str, index: int = 0,
                  kwargs: dict | None = None) -> Tensor:
    """The row of the attention matrix that belongs to a query.

    Args:
        attention (nn.Module): See :func:`attention_matrix`.
        args (tuple): What it was called with.
        hw_shape (tuple[int, int]): Patch grid (H, W).
        query (str): 'class', an extra token of self-attention or a query of cross-attention; 'patch';
            'representative' (CBSA, Agent).
        index (int): Which one. Defaults to 0.
        kwargs (dict, optional): Keyword arguments of the call. Defaults to none.

    Returns:
        Tensor: (B, K, N), over all tokens.

    Raises:
        TypeError: The attention has no such queries.
        IndexError: There are some, but not number ``index``.
    """
    if query == 'representative':
        rows = representative_footprints(attention, args)
    else:
        rows = attention_matrix(attention, args, kwargs)
        num_patches = hw_shape[0] * hw_shape[1]
        has_patches = getattr(attention, 'updates_all_tokens', True)
        num_classes = rows.shape[-2] - (num_patches if has_patches else 0)
        rows = rows[..., :num_classes, :] if query == 'class' else rows[..., num_classes:, :]
    if not rows.shape[-2]:
        raise TypeError(f'{type(attention).__name__} has no {query} queries here.')
    if not 0 <= index < rows.shape[-2]:
        raise IndexError(f'There is no {query} {index}: {type(attention).__name__} has {rows.shape[-2]}, from 0.')
    return rows[..., index, :]


def has_class_token(model: nn.Module, name: str, attention: nn.Module) -> bool:
    """Whether an attention layer of a model's encoder has a class token that looks at the patches.

    Args:
        model (nn.Module): A classifier or segmentor.
        name (str): Name of the layer in the model.
        attention (nn.Module): The layer.
    """
    backbone = getattr(model, 'backbone', model)
    with_token = getattr(getattr(backbone, 'vit', backbone), 'cls_token', None) is not None
    late = not getattr(attention, 'updates_all_tokens', True)
    return bool(with_token and not name.startswith('decode_head') and has_attention_map(attention)
                and (late or backbone.num_extra_tokens > 0))


def has_class_queries(model: nn.Module, name: str, attention: nn.Module) -> bool:
    """Whether an attention layer of a model's mask decoder has one token for each class that looks at the patches.

    In a decoder with class-attention layers (DEPICT-CA) these have, and the others refine the patches alone.

    Args:
        model (nn.Module): A segmentor.
        name (str): Name of the layer in the model.
        attention (nn.Module): The layer.
    """
    head = getattr(model, 'decode_head', None)
    if not isinstance(head, WhiteBoxMaskHead) or not name.startswith('decode_head') or not has_attention_map(attention):
        return False
    return bool(head.class_layers) != attention.updates_all_tokens


def class_token_maps(model: nn.Module, image: Tensor, layers: dict[str, nn.Module]) -> dict[str, Tensor]:
    """Maps of the encoder's class token over an image.

    Args:
        model (nn.Module): A classifier or segmentor in evaluation mode.
        image (Tensor): Preprocessed image, (1, 3, height, width).
        layers (dict[str, nn.Module]): Name -> attention layer for which :func:`has_class_token` holds.

    Returns:
        dict[str, Tensor]: Name -> (K, H, W).
    """
    with torch.inference_mode(), capture(layers) as calls:
        model.extract_feat(image)
    hw_shape = patch_grid(model, image.shape[-2:])
    with torch.inference_mode():
        return {name: patch_maps(attention_row(layer, calls[name].args, hw_shape, 'class', 0, calls[name].kwargs),
                                 hw_shape)[0] for name, layer in layers.items()}


def attention_statistics(rows: Tensor, hw_shape: tuple[int, int]) -> dict[str, Tensor]:
    """What rows of attention amount to, per image and head.

    Args:
        rows (Tensor): From :func:`attention_row`, (B, K, N); negative values count as zero.
        hw_shape (tuple[int, int]): Patch grid (H, W).

    Returns:
        dict[str, Tensor]: ``patch_share``, (B, K): how much of the row lies on the patches, the rest on the class
        tokens. ``spread``, (B, K): exp(entropy) of the map over the number of patches, 1 for a uniform map and
        1 / (H W) for a single patch.
    """
    rows = rows.double().clamp_min(0)
    patches = patch_maps(rows, hw_shape).flatten(-2)
    sums = patches.sum(-1)
    shares = patches / sums.clamp_min(torch.finfo(sums.dtype).tiny)[..., None]
    return dict(patch_share=sums / rows.sum(-1).clamp_min(torch.finfo(sums.dtype).tiny),
                spread=torch.special.entr(shares).sum(-1).exp() / patches.shape[-1])
