"""What ``mmwhitebox measure complexity`` does; how it counts: :mod:`mmwhitebox.interpret.complexity`."""
import argparse
import json
import sys
from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope
from prettytable import PrettyTable

from mmwhitebox.apis import config_path
from mmwhitebox.apis.export import default_size
from mmwhitebox.config.names import published_figures
from mmwhitebox.config.reading import load_config
from mmwhitebox.engine.devices import check_device
from mmwhitebox.errors import UserError
from mmwhitebox.interpret import activation_memory, count_flops, count_parameters, count_similarities
from mmwhitebox.interpret.cost_curve import SERIES, cost_curves, plot_cost_curves
from mmwhitebox.models.access import Network, logits, shown_part

from .outputs import save_figure, save_numbers

TOLERANCE = 0.03
PAPERS = published_figures()
COLUMNS = {
    'params': 'params (M)', 'headless': 'without head (M)', 'flops': 'FLOPs (G)',
    'similarities': 'similarities (M)', 'decoder_params': 'decoder params (M)',
    'decoder_flops': 'decoder FLOPs (G)', 'memory': 'activations (MiB)'
}


def measure(cfg: Config, size: tuple | None, memory: bool) -> dict:
    """Cost of a config's model for one image, in the units of :data:`COLUMNS`."""
    init_default_scope(cfg.get('default_scope', 'mmseg'))
    size = size or default_size(cfg)
    if 'pretrained' in cfg.model.backbone:
        cfg.model.backbone.pretrained = False
    model = MODELS.build(cfg.model).eval()
    head = getattr(model, 'decode_head', None)
    costs = dict(size=list(size))
    if memory:
        device = 'cuda' if torch.cuda.is_available() else 'cpu'
        model.to(device).train()
        images = torch.randn(2, cfg.model.backbone.get('in_channels', 3), *size, device=device)
        two, costs['memory_is'] = activation_memory(model, lambda: logits(model, images).float().sum())
        costs['memory'] = two / 2 / 2**20  # per image; two, since batch norm needs more than one value
        model.eval()
    model.to('meta')
    image = torch.empty(1, cfg.model.backbone.get('in_channels', 3), *size, device='meta')
    network = Network(model)
    costs.update(
        params=count_parameters(shown_part(model)) / 1e6,  # a teacher is its copy
        headless=count_parameters(model.backbone) / 1e6,
        flops=count_flops(network, image) / 1e9,
        similarities=count_similarities(network, image) / 1e6)
    if head is not None:
        with torch.no_grad():
            features = model.backbone(image)
        costs.update(decoder_params=count_parameters(head) / 1e6, decoder_flops=count_flops(head, features) / 1e9)
    return costs


def compare(costs: dict, paper: dict) -> dict:
    """Relative differences from the published figures; 0 where ours, rounded to their digits, is theirs."""
    decimals = {key: len(str(value).partition('.')[2]) for key, value in paper.items()}
    return {key: 0. if round(costs[key], decimals[key]) == value else costs[key] / value - 1
            for key, value in paper.items()}


def show(rows: dict) -> str:
    """Table of all rows; published figures in brackets, differences over the tolerance marked."""
    columns = [key for key in COLUMNS if any(key in costs for costs in rows.values())]
    table = PrettyTable(['config', 'size', *(COLUMNS[key] for key in columns)], align='r')
    table.align['config'] = 'l'
    for name, costs in rows.items():
        cells = []
        for key in columns:
            cell = f'{costs[key]:.2f}' if costs.get(key) else '-'
            if key in costs.get('paper', {}):
                off = costs['difference'][key]
                cell += f' ({costs["paper"][key]:g}{f", {off:+.1%} !" if abs(off) > TOLERANCE else ""})'
            cells.append(cell)
        table.add_row([name, 'x'.join(map(str, costs['size'])), *cells])
    return table.get_string()


def main(args: argparse.Namespace) -> None:
    if args.curve:
        return curve(args)
    if args.time:
        raise UserError('--time is of --curve.')
    if bool(args.configs) == args.zoo:
        raise UserError('Give config files, --zoo or --curve.')
    names = {name: config_path(name) for name in PAPERS} if args.zoo else {path: path for path in args.configs}
    rows = {}
    for name, path in names.items():
        print(f'{name} ...', file=sys.stderr)
        rows[name] = costs = measure(load_config(path), args.size, args.memory)
        if args.zoo and not args.size:
            costs.update(paper=PAPERS[name], difference=compare(costs, PAPERS[name]))
    print(show(rows))
    if args.zoo:
        print(f'In brackets: published figures; ! marks a difference over {TOLERANCE:.0%}.')
    if args.json:
        Path(args.json).write_text(json.dumps(rows, indent=1))



def curve(args: argparse.Namespace) -> None:
    """Cost of every attention and feed-forward against the number of tokens."""
    if args.configs or args.zoo or args.memory or args.size or args.json:
        raise UserError('--curve takes neither configs nor --zoo, --memory, --size and --json.')
    if args.dims % args.num_heads:
        raise UserError(f'--num-heads {args.num_heads} does not divide --dims {args.dims}.')
    if args.time and args.rounds < 2:
        raise UserError('--rounds: quartiles need two or more.')
    check_device(args.device)
    device = args.device or ('cuda' if torch.cuda.is_available() else 'cpu')
    rows = cost_curves(sorted(set(args.sides)), args.dims, args.num_heads, device, args.rounds if args.time else 0)
    columns = [key for key in SERIES if key in rows[0]]
    table = PrettyTable(['module', 'tokens', *(SERIES[key][0] for key in columns)], align='r')
    table.align['module'] = 'l'
    for row in rows:
        cells = ['-' if row[key] is None else f'{row[key] / SERIES[key][1]:.3f}' for key in columns]
        if 'time' in row:
            cells[-1] += f' ({row["time_low"] / SERIES["time"][1]:.3f} - {row["time_high"] / SERIES["time"][1]:.3f})'
        table.add_row([row['module'], row['tokens'], *cells])
    print(table.get_string())
    print(f'One layer, one image, width {args.dims}, {args.num_heads} heads; activations are {rows[0]["memory_is"]} on '
          f'{device}' + (f'; time: median and quartiles of {args.rounds} rounds.' if args.time else '.'))
    _, csv_file = save_numbers(rows, args.out, 'cost_curve')
    print(f'Wrote {csv_file} and {save_figure(plot_cost_curves(rows), args.out, "cost_curve")}')
