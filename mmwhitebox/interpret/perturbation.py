r"""Robustness against noise on the attention projections (CBSA, NeurIPS 2025, figure 8).

    U <- U + scale * rms(U) * E,          E_ij ~ N(0, 1)

U maps the tokens into the heads: the subspace bases of the white-box attentions, the query, key and value maps of
ordinary ones. **reading**: the paper says 'relatively small noise' on the projection matrices; here the noise is
relative to the root mean square of each weight matrix, biases and output maps stay as they are.
"""
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch import Tensor, nn

from mmwhitebox.models.access import shown_part
from mmwhitebox.models.attention import BaseAttention

PARTS = ('encoder', 'decoder', 'all')
INPUT_MAPS = ('proj', 'qkv', 'q', 'kv')
TIMM_INPUT_MAPS = ('qkv', 'q_proj', 'k_proj', 'v_proj')
TORCH_INPUT_MAPS = ('in_proj_weight', 'q_proj_weight', 'k_proj_weight', 'v_proj_weight')


class Projection(NamedTuple):
    """A weight that maps tokens into heads.

    Attributes:
        weight (Tensor): (c * K * p, D), c maps below each other, e.g. query, key and value.
        num_heads (int): K.
        head_dims (int): p.
    """

    weight: Tensor
    num_heads: int
    head_dims: int


def _input_weights(attention: nn.Module) -> list[Projection]:
    if isinstance(attention, nn.MultiheadAttention):
        weights = [getattr(attention, name) for name in TORCH_INPUT_MAPS]
    elif isinstance(attention, BaseAttention) or hasattr(attention, 'fused_attn'):
        names = INPUT_MAPS if isinstance(attention, BaseAttention) else TIMM_INPUT_MAPS
        weights = [getattr(getattr(attention, name, None), 'weight', None) for name in names]
    else:
        return []
    head_dims = attention.head_dims if isinstance(attention, BaseAttention) else attention.head_dim
    return [Projection(weight, attention.num_heads, head_dims) for weight in weights if weight is not None]


def attention_projections(model: nn.Module, part: str = 'all') -> dict[str, list[Projection]]:
    """The weights that map tokens into the heads of every attention: of this package, timm's and torch's.

    Args:
        model (nn.Module): A classifier or segmentor.
        part (str): 'encoder' (``backbone``), 'decoder' (``decode_head``) or 'all'. Defaults to 'all'.

    Returns:
        dict[str, list[Projection]]: Name of the attention in the model -> its weights; empty if there is none. A weight
        that is made of others (orthonormal bases) is the layer's own only within ``parametrize.cached()`` of torch.
    """
    prefix = dict(encoder='backbone.', decoder='decode_head.', all='')[part]
    modules = shown_part(model).named_modules()
    found = {name: _input_weights(module) for name, module in modules if name.startswith(prefix)}
    return {name: projections for name, projections in found.items() if projections}


@contextmanager
def perturbed(projections: Sequence[Projection], scale: float, seed: int,
              heads: Sequence[int] | None = None) -> Iterator[None]:
    """Add relative Gaussian noise to weights; at the exit they are what they were, bit by bit.

    Args:
        projections (Sequence[Projection]): The weights, changed in place.
        scale (float): Standard deviation of the noise over the root mean square of each weight. 0 is no change.
        seed (int): Seed of the noise, which is the same on every device.
        heads (Sequence[int], optional): Only the rows of these heads get noise. Defaults to all.
    """
    originals = [weight.detach().clone() for weight, _, _ in projections]
    generator = torch.Generator().manual_seed(seed)
    try:
        with torch.no_grad():
            for weight, num_heads, head_dims in projections if scale else ():
                noise = torch.randn(weight.shape, generator=generator)
                if heads is not None:
                    chosen = torch.zeros(num_heads, 1, 1)
                    chosen[list(heads)] = 1
                    noise = (chosen * noise.unflatten(0, (-1, num_heads, head_dims))).flatten(0, 2)
                weight.add_(noise.to(weight), alpha=scale * weight.double().square().mean().sqrt().item())
        yield
    finally:
        with torch.no_grad():
            for (weight, _, _), original in zip(projections, originals):
                weight.copy_(original)


def noise_sweep(projections: Sequence[Projection], evaluate: Callable[[], float], scales: Sequence[float],
                repeats: int = 3, seed: int = 0, heads: Sequence[int] | None = None) -> Iterator[dict]:
    """Score a model under noise of several scales.

    Args:
        projections (Sequence[Projection]): The weights, changed and restored in place.
        evaluate (Callable): Returns the score of the model as it is.
        scales (Sequence[float]): Noise scales; 0 is evaluated once, since it has no noise to repeat.
        repeats (int): Draws of the noise for each scale. Defaults to 3.
        seed (int): Draw r of every scale has the seed ``seed + r``: the same direction, scaled. Defaults to 0.
        heads (Sequence[int], optional): Only these heads get noise. Defaults to all.

    Yields:
        dict: ``scale``, ``seed`` and ``score`` of each evaluation.
    """
    for scale in scales:
        for r in range(repeats if scale else 1):
            with perturbed(projections, scale, seed + r, heads):
                score = evaluate()
            yield dict(scale=scale, seed=seed + r, score=score)


def summarize(draws: Sequence[dict]) -> list[dict]:
    """Mean and standard deviation over the draws of each scale.

    Args:
        draws (Sequence[dict]): From :func:`noise_sweep`.

    Returns:
        list[dict]: ``scale``, ``mean``, ``std`` (unbiased; 0 for a single draw), ``repeats``, in the order of
        the scales.
    """
    rows = []
    for scale in dict.fromkeys(draw['scale'] for draw in draws):
        scores = [draw['score'] for draw in draws if draw['scale'] == scale]
        mean = math.fsum(scores) / len(scores)
        variance = math.fsum((score - mean)**2 for score in scores) / max(1, len(scores) - 1)
        rows.append(dict(scale=scale, mean=mean, std=math.sqrt(variance), repeats=len(scores)))
    return rows
