"""What ``mmwhitebox measure rate_reduction`` does; definitions: :mod:`mmwhitebox.interpret.rate_reduction`."""
import argparse

import torch
from prettytable import PrettyTable

from mmwhitebox.cli.measures.inputs import open_model, run_on_inputs
from mmwhitebox.cli.measures.outputs import save_figure, save_numbers
from mmwhitebox.cli.measures.selection import layers_with, select_heads
from mmwhitebox.interpret.rate_reduction import (
    REDUCTIONS,
    Reductions,
    correlation,
    plot_reductions,
    representative_layers,
)
from mmwhitebox.models.attention_layers import layer_numbers


@torch.inference_mode()
def main(args: argparse.Namespace) -> None:
    model = open_model(args)
    layers = {layer.name: layer for layer in representative_layers(model)}
    chosen = layers_with(model, args.layers, lambda name, layer: name in layers,
                         'attention through representatives (CBSA)')
    heads = select_heads(args.heads, chosen.values()) if args.heads else None
    reductions = Reductions([layers[name] for name in chosen], layer_numbers(model, chosen), heads)
    run_on_inputs(model, args, reductions)
    rows = list(reductions.rows())
    table = PrettyTable(['layer', 'head', *REDUCTIONS], align='r')
    for row in rows:
        cells = (f'{row[key]:.2f} +- {row[f"{key}_std"]:.2f}' for key in REDUCTIONS)
        table.add_row([row['layer'], row['head'], *cells])
    print(f'{table}\nReduction of the coding rate in nats, mean +- std over {rows[0]["images"]} images; negative where '
          'the rate grows.')
    few = [row['representatives'] for row in rows]
    for key, where in (('tokens', 'within the subspace'), ('tokens_after_layer', 'after the whole attention layer')):
        print(f'Pearson correlation of representatives and tokens {where}: '
              f'{correlation(few, [row[key] for row in rows]):.3f} over {len(rows)} heads')
    print('written:', *save_numbers(rows, args.out, 'rate_reduction'),
          save_figure(plot_reductions(rows), args.out, 'rate_reduction'))
