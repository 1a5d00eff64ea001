"""What ``mmwhitebox measure subspaces`` does; quantities: :mod:`mmwhitebox.interpret.subspaces`."""
import argparse

import numpy as np
from prettytable import PrettyTable

from mmwhitebox.cli.measures.inputs import open_model
from mmwhitebox.cli.measures.outputs import save_figure, save_numbers
from mmwhitebox.cli.measures.selection import layers_with, select_heads
from mmwhitebox.interpret.subspaces import plot_angles, plot_subspaces, subspace_rows
from mmwhitebox.models.attention_layers import layer_numbers, subspace_projection

COLUMNS = {
    'orthonormality_error': '|U^T U - I|', 'column_coherence': 'coherence', 'random_column_coherence': '(random)',
    'affinity': 'affinity', 'random_affinity': '(random)  ', 'smallest_angle': 'smallest angle',
    'mean_angle': 'mean angle'
}


def main(args: argparse.Namespace) -> None:
    model = open_model(args)
    layers = layers_with(model, args.layers, lambda name, layer: subspace_projection(layer) is not None,
                         'attention that projects its tokens into subspaces by one map')
    indices = layer_numbers(model, layers)
    common = select_heads(args.heads, layers.values())
    heads = common if args.heads else None
    rows = subspace_rows(layers, indices, heads)
    table = PrettyTable(['layer', *COLUMNS.values()], align='r', float_format='.3')
    for index in indices:
        table.add_row([index, *(np.mean([row[key] for row in rows if row['layer'] == index]) for key in COLUMNS)])
    print(table)
    print('Mean over heads; angles in degrees. (random): the value of random directions of the same dimensions.')
    written = [*save_numbers(rows, args.out, 'subspaces'), save_figure(plot_subspaces(rows), args.out, 'subspaces')]
    if len(common) > 1:
        written.append(save_figure(plot_angles(layers, indices, heads), args.out, 'subspaces_angles'))
    print('written:', *written)
