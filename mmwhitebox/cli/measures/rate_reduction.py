"""What ``mmwhitebox measure rate_reduction`` does; definitions: :mod:`mmwhitebox.interpret.rate_reduction`."""
import argparse

import torch
from prettytable import PrettyTable

from mmwhitebox.cli.measures.inputs import iter_inputs, open_model
from mmwhitebox.cli.measures.outputs import save_figure, save_numbers
from mmwhitebox.cli.measures.selection import layers_with, select
from mmwhitebox.interpret.capture import capture
from mmwhitebox.interpret.rate_reduction import (
    REDUCTIONS,
    Reductions,
    correlation,
    plot_reductions,
    representative_layers,
)
from mmwhitebox.models.access import logits
from mmwhitebox.models.attention_layers import layer_numbers


@torch.inference_mode()
def main(args: argparse.Namespace) -> None:
    model = open_model(args)
    layers = {layer.name: layer for layer in representative_layers(model)}
    chosen = layers_with(model, args.layers, lambda name, layer: name in layers,
                         'attention through representatives (CBSA)')
    numbers = layer_numbers(model, chosen)
    layers = [layers[name] for name in chosen]
    fewest = min(layer.attention.num_heads for layer in layers)
    reductions = Reductions(layers, numbers, select(args.heads, fewest, '--heads', 'heads') if args.heads else None)
    for item in iter_inputs(model, args):
        with capture(reductions.modules) as calls:
            logits(model, item.tensor)
        reductions.update(calls)
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
    json_file, csv_file = save_numbers(rows, args.out, 'rate_reduction')
    print('written:', json_file, csv_file, save_figure(plot_reductions(rows), args.out, 'rate_reduction'))

