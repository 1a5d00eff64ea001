"""What ``mmwhitebox measure coding_rate`` does; quantities and readings: :mod:`mmwhitebox.interpret.coding_rate`."""
import argparse

import numpy as np
import torch
from prettytable import PrettyTable

from mmwhitebox.cli.measures.inputs import open_model, run_on_inputs
from mmwhitebox.cli.measures.outputs import save_figure, save_numbers
from mmwhitebox.cli.measures.selection import layers_with, named_models, select_heads
from mmwhitebox.interpret.coding_rate import RateCurves, compression_verdict, plot_rates
from mmwhitebox.models.attention_layers import compression_layers, layer_numbers


@torch.inference_mode()
def measure(args: argparse.Namespace, config: str, checkpoint: str) -> RateCurves:
    """The curves of one checkpoint over all images."""
    model = open_model(args, config, checkpoint)
    layers = {layer.name: layer for layer in compression_layers(model)}
    chosen = layers_with(model, args.layers, lambda name, layer: name in layers,
                         'attention that compresses its tokens in learned subspaces')
    heads = select_heads(args.heads, chosen.values()) if args.heads else None
    curves = RateCurves([layers[name] for name in chosen], layer_numbers(model, chosen), heads)
    run_on_inputs(model, args, curves)
    return curves


def show(curves: RateCurves) -> str:
    """Table of the means, one row a layer; what the model does not have is left out."""
    columns = {
        'R_c after attention': ('attention', 'compression'), 'after feed-forward': ('feedforward', 'compression'),
        'R_c unit length': ('attention', 'compression_normalized'), 'R': ('attention', 'expansion'),
        'sparsity': ('feedforward', 'sparsity')
    }
    table = PrettyTable(align='r')
    table.add_column('layer', curves.numbers)
    for title, (stage, quantity) in columns.items():
        mean, std = curves.curve(stage, quantity)
        digits = 3 if quantity == 'sparsity' else 1
        if np.isfinite(mean).any():
            table.add_column(title, [f'{m:.{digits}f} +- {s:.{digits}f}' for m, s in zip(mean, std)])
    return table.get_string()


def main(args: argparse.Namespace) -> None:
    curves = {name: measure(args, *pair) for name, pair in named_models(args).items()}
    rows = []
    for name, course in curves.items():
        print(f'\n{name}, {course.moments.count} images\n{show(course)}')
        print(compression_verdict(course.curve('attention', 'compression')[0], course.numbers))
        rows += [dict(model=name, **row) for row in course.rows()]
    print('written:', *save_numbers(rows, args.out, 'coding_rate'),
          save_figure(plot_rates(curves), args.out, 'coding_rate'))
