"""What ``mmwhitebox measure attention_map`` draws; the maps are those of :mod:`mmwhitebox.interpret.attention_map`."""
import argparse
import re
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from mmengine.model import BaseModel
from torch import Tensor, nn

from mmwhitebox.cli.measures.inputs import iter_inputs, open_model
from mmwhitebox.cli.measures.outputs import save_figure, save_numbers
from mmwhitebox.cli.measures.selection import layers_with, select_heads
from mmwhitebox.errors import UserError, joined
from mmwhitebox.interpret.attention_map import (
    attention_row,
    attention_statistics,
    has_attention_map,
    has_class_queries,
    has_class_token,
    has_representatives,
)
from mmwhitebox.interpret.capture import capture
from mmwhitebox.interpret.map_grid import MapRow, draw_map_grid, layer_label
from mmwhitebox.interpret.patch_maps import Picture, patch_grid, patch_maps, patch_size
from mmwhitebox.interpret.running_moments import RunningMoments
from mmwhitebox.models.access import logits
from mmwhitebox.models.attention_layers import attention_layers


class Query(NamedTuple):
    """What looks."""

    text: str
    """As given."""
    kind: str
    """'class', 'representative' or 'patch', see attention_row."""
    index: int | tuple[int, int] | None
    """Which one; None is the largest class, a pair (x, y) a pixel."""
    decoder: bool = False
    """Whether a class is one of the decoder."""


def parse_query(text: str, model: BaseModel) -> Query:
    """Read ``--query``.

    Raises:
        UserError: Not of a known form, or an unknown class.
    """
    kind, _, value = text.partition(':')
    if text == 'class-token':
        return Query(text, 'class', 0)
    if text == 'class:largest':
        return Query(text, 'class', None, True)
    if kind == 'class' and value:
        classes = list(model.dataset_meta['classes'])
        if value in classes:
            return Query(text, 'class', classes.index(value), True)
        if value.isdigit() and int(value) < len(classes):
            return Query(f'class:{classes[int(value)]}', 'class', int(value), True)
        raise UserError(f'--query {text}: there is no such class. Classes: {joined(classes)}.')
    if kind == 'representative' and value.isdigit():
        return Query(text, 'representative', int(value))
    if kind == 'pixel' and re.fullmatch(r'\d+,\d+', value):
        x, y = map(int, value.split(','))
        return Query(text, 'patch', (x, y))
    raise UserError(f'--query {text}: give class-token, class:NAME, class:largest, representative:J or pixel:X,Y.')


def notion_of(model: BaseModel, query: Query) -> tuple[Callable[[str, nn.Module], bool], str]:
    """Which attention layers have a query, and what to call it."""

    def has(name: str, layer: nn.Module) -> bool:
        if query.kind == 'representative':
            return has_representatives(layer)
        if query.kind == 'class':
            return has_class_queries(model, name, layer) if query.decoder else has_class_token(model, name, layer)
        return has_attention_map(layer) and getattr(layer, 'updates_all_tokens', True)

    if query.kind == 'representative':
        return has, 'representatives (attention CBSA or Agent)'
    return has, f'attention map of the query {query.text}'


def default_queries(model: BaseModel) -> list[Query]:
    """The class token of the encoder and the largest class of the decoder, where there are such."""
    queries = [parse_query(text, model) for text in ('class-token', 'class:largest')]
    layers = attention_layers(model).items()
    return [query for query in queries
            if any(notion_of(model, query)[0](*item) for item in layers)] or queries[:1]


def locate(query: Query, scores: Tensor, seen_size: tuple[int, int], patch: tuple[int, int],
           hw_shape: tuple[int, int]) -> int:
    """Index of a query in one image."""
    if query.index is None:
        return int(scores.argmax(1).flatten().bincount().argmax())
    if isinstance(query.index, int):
        return query.index
    x, y = query.index
    if x >= seen_size[1] or y >= seen_size[0]:
        raise UserError(f'--query {query.text}: the image is {seen_size[1]} x {seen_size[0]} pixels for the model.')
    return y // patch[0] * hw_shape[1] + x // patch[1]


def table(moments: dict[tuple, dict[str, RunningMoments]], heads: Sequence[int]) -> list[dict]:
    """One row for each query, layer and head: means over the images."""
    return [dict(query=query, layer=layer, head=head, images=values['spread'].count,
                 **{key: float(value.mean[head]) for key, value in values.items()})
            for (query, layer), values in moments.items() for head in heads]


@torch.inference_mode()
def main(args: argparse.Namespace) -> None:
    model = open_model(args)
    queries = [parse_query(text, model) for text in args.query] if args.query else default_queries(model)
    chosen = {query: layers_with(model, args.layers, *notion_of(model, query)) for query in queries}
    layers = {name: layer for found in chosen.values() for name, layer in found.items()}
    heads = select_heads(args.heads, layers.values())
    moments: dict[tuple, dict[str, RunningMoments]] = {}
    for item in iter_inputs(model, args):
        with capture(layers) as calls:
            scores = logits(model, item.tensor)
        seen_size = item.sample.img_shape[:2]
        hw_shape = patch_grid(model, item.tensor.shape[-2:])
        picture = Picture(model, item.tensor, seen_size, model.dataset_meta.get('shown'))
        for query, found in chosen.items():
            index = locate(query, scores, seen_size, patch_size(model), hw_shape)
            rows = []
            for name, layer in found.items():
                try:
                    row = attention_row(layer, calls[name].args, hw_shape, query.kind, index, calls[name].kwargs)
                except (TypeError, IndexError) as error:
                    raise UserError(f'--query {query.text}, {name}: {error}') from error
                for key, value in attention_statistics(row, hw_shape).items():
                    moments.setdefault((query.text, name), {}).setdefault(key, RunningMoments()).update(value[0].cpu())
                rows.append(MapRow(layer_label(name), picture.place(patch_maps(row, hw_shape)[0, heads].clamp_min(0))))
            text = query.text if query.index is not None else f'class:{model.dataset_meta["classes"][index]}'
            figure = draw_map_grid(
                picture.image, rows, [f'head {head}' for head in heads], f'{item.name}: {text}', 'attention',
                mark=picture.position(*query.index) if isinstance(query.index, tuple) else None, note=picture.note)
            save_figure(figure, args.out, f'{item.name}_{re.sub("[^A-Za-z0-9]+", "-", query.text)}')
    save_numbers(table(moments, heads), args.out, 'attention_map')
    print(f'{args.out}: attention_map.json, attention_map.csv and a figure for each image and query')
