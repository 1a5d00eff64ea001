"""What ``mmwhitebox measure rank`` does; definitions: :mod:`mmwhitebox.interpret.rank`."""
import argparse

import numpy as np
import torch
from prettytable import PrettyTable

from mmwhitebox.cli.measures.inputs import open_model, run_on_inputs
from mmwhitebox.cli.measures.outputs import save_figure, save_numbers
from mmwhitebox.cli.measures.selection import layers_with, named_models, select_heads
from mmwhitebox.interpret.attention_map import has_representatives
from mmwhitebox.interpret.rank import TOLERANCE, Ranks, plot_ranks
from mmwhitebox.models.attention_layers import layer_numbers


@torch.inference_mode()
def measure(args: argparse.Namespace, config: str, checkpoint: str) -> list[dict]:
    """The rows of one checkpoint over all images."""
    model = open_model(args, config, checkpoint)
    layers = layers_with(model, args.layers, lambda name, layer: has_representatives(layer),
                         'attention through representatives (CBSA, Agent)')
    heads = select_heads(args.heads, layers.values()) if args.heads else None
    ranks = Ranks(layers, layer_numbers(model, layers), heads)
    run_on_inputs(model, args, ranks)
    return list(ranks.rows())


def show(rows: dict[str, list[dict]]) -> str:
    """Table of all models side by side, one row for each layer and head; '-' where a model lacks it."""
    places = sorted({(row['layer'], row['head']) for found in rows.values() for row in found})
    table = PrettyTable(align='r')
    table.add_column('layer', [layer for layer, _ in places])
    table.add_column('head', [head for _, head in places])
    for name, found in rows.items():
        cells = {(row['layer'], row['head']): (f'{row["rank"]:.1f} +- {row["rank_std"]:.1f}', min(row['m'], row['p']))
                 for row in found}
        ranks, limits = zip(*(cells.get(place, ('-', '-')) for place in places))
        table.add_column(f'{name} ({found[0]["representatives"]})', ranks)
        table.add_column('min(m, p)', limits)
    return table.get_string()


def main(args: argparse.Namespace) -> None:
    rows = {name: measure(args, *pair) for name, pair in named_models(args).items()}
    first = next(iter(rows.values()))[0]
    print(f'{show(rows)}\nRank of A: singular values above {TOLERANCE:g} of the largest, mean +- std over '
          f'{first["images"]} images; m representatives, p dimensions of a head.')
    for name, found in rows.items():
        print(f'{name}: mean rank {np.mean([row["rank"] for row in found]):.1f} over {len(found)} heads, '
              f'representatives {"learned" if found[0]["representatives"] == "learned" else "from the pool"}')
    together = [dict(model=name, **row) for name, found in rows.items() for row in found]
    print('written:', *save_numbers(together, args.out, 'rank'), save_figure(plot_ranks(rows), args.out, 'rank'))
