"""What ``mmwhitebox measure membership`` draws; the maps are those of :mod:`mmwhitebox.interpret.membership`."""
import argparse
from collections.abc import Sequence

import torch
from matplotlib.figure import Figure
from torch import Tensor, nn

from mmwhitebox.cli.measures.inputs import Input, iter_inputs, open_model
from mmwhitebox.cli.measures.outputs import save_figure, save_numbers
from mmwhitebox.cli.measures.selection import layers_with, select_heads
from mmwhitebox.interpret.capture import capture
from mmwhitebox.interpret.map_grid import MapRow, draw_map_grid, layer_label
from mmwhitebox.interpret.membership import (
    gate_maps,
    hard_assignment,
    has_gate,
    has_membership,
    membership_maps,
    membership_statistics,
)
from mmwhitebox.interpret.patch_maps import Picture
from mmwhitebox.interpret.running_moments import RunningMoments
from mmwhitebox.models.access import logits


def draw(model: nn.Module, item: Input, maps: dict[str, dict[str, Tensor]], heads: Sequence[int]) -> Figure:
    """Figure of one image; maps: name of a layer -> symbol ('Π', 'G') -> (K, H, W)."""
    picture = Picture(model, item.tensor, item.sample.img_shape[:2], model.dataset_meta.get('shown'))
    rows = [MapRow(f'{layer_label(name)}  {symbol}', picture.place(values[heads]),
                   picture.place(hard_assignment(values[None])[0]) if symbol == 'Π' else None)
            for name, symbols in maps.items() for symbol, values in symbols.items()]
    return draw_map_grid(
        picture.image, rows, [f'head {head}' for head in heads], f'Membership of the tokens: {item.name}',
        'membership Π, gate G' if any('G' in symbols for symbols in maps.values()) else 'membership Π',
        shared_scale=True, label_title='strongest head', note=picture.note)


def table(moments: dict[str, dict[str, RunningMoments]], heads: Sequence[int]) -> list[dict]:
    """One row for each layer and head: means over the images."""
    rows = []
    for name, layer in moments.items():
        for head in heads:
            row = dict(layer=name, head=head, images=layer['mean'].count)
            for key, values in layer.items():
                row[key] = float(values.mean if key == 'entropy' else values.mean[head])
            rows.append(row)
    return rows


@torch.inference_mode()
def main(args: argparse.Namespace) -> None:
    model = open_model(args)
    layers = layers_with(model, args.layers, lambda name, layer: has_membership(layer),
                         'membership of tokens in subspaces (attention TSSA or DMSA)')
    heads = select_heads(args.heads, layers.values())
    moments: dict[str, dict[str, RunningMoments]] = {name: {} for name in layers}
    for item in iter_inputs(model, args):
        with capture(layers) as calls:
            logits(model, item.tensor)
        maps = {}
        for name, layer in layers.items():
            maps[name] = dict(Π=membership_maps(layer, calls[name].args)[0])
            statistics = membership_statistics(maps[name]['Π'][None])
            if has_gate(layer):
                gate = maps[name]['G'] = gate_maps(layer, calls[name].args)[0]
                statistics.update(gate_mean=gate.mean((1, 2))[None], gate_closed=(gate == 0).float().mean((1, 2))[None])
            for key, value in statistics.items():
                moments[name].setdefault(key, RunningMoments()).update(value[0].cpu())
        save_figure(draw(model, item, maps, heads), args.out, item.name)
    save_numbers(table(moments, heads), args.out, 'membership')
    print(f'{args.out}: membership.json, membership.csv and a figure for each image')
