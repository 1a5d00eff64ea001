"""What ``mmwhitebox measure perturbation`` does; readings: :mod:`mmwhitebox.interpret.perturbation`."""
import argparse
from collections.abc import Callable

from matplotlib.figure import Figure
from mmengine.evaluator import Evaluator
from mmengine.model import BaseModel
from mmpretrain.models import BaseSelfSupervisor
from prettytable import PrettyTable
from rich.console import Console
from rich.progress import Progress
from torch.nn.utils import parametrize
from torch.utils.data import DataLoader

from mmwhitebox.apis.scoring import evaluation_loader, scores_of
from mmwhitebox.cli.measures.inputs import open_model
from mmwhitebox.cli.measures.outputs import save_figure, save_numbers
from mmwhitebox.cli.measures.selection import commands_for, named_models, require, select, select_heads
from mmwhitebox.errors import NotApplicableError, UserError
from mmwhitebox.interpret.perturbation import Projection, attention_projections, noise_sweep, summarize
from mmwhitebox.interpret.plot_style import colour, new_figure


def evaluation(model: BaseModel, loader: DataLoader, step: Callable[[], None]) -> Callable[[], float]:
    """A function that scores the model on the loader's images, in percent; ``step`` is called after each batch."""
    if hasattr(model, 'decode_head'):
        key, metric = 'mIoU', dict(type='mmseg.IoUMetric', ignore_index=model.decode_head.ignore_index)
    else:
        key, metric = 'top1', dict(type='mmpretrain.Accuracy', topk=1)
    evaluator = Evaluator(dict(metric, prefix='score'))
    return lambda: scores_of(model, loader, evaluator, step)[f'score/{key}']


def choose_projections(model: BaseModel, args: argparse.Namespace) -> list[Projection]:
    """The weights that the options name."""
    part = args.part or ('decoder' if attention_projections(model, 'decoder') else 'encoder')
    layers = list(attention_projections(model, part).values())
    require(layers, f'attention with projections in its {part}', commands_for(model))
    return [projection for i in select(args.layers, len(layers), '--layers', f'attention layers in the part {part}')
            for projection in layers[i]]


@parametrize.cached()  # bases that are kept orthonormal are made of other weights: once, so that they take the noise
def measure(args: argparse.Namespace, name: str, config: str, checkpoint: str) -> list[dict]:
    """Rows of one model: its score in every draw of the noise, and what the score is."""
    model = open_model(args, config, checkpoint)
    projections = choose_projections(model, args)
    heads = select_heads(args.heads, projections) if args.heads else None
    if isinstance(model, BaseSelfSupervisor):
        raise NotApplicableError(f'{type(model).__name__} has learned no classes, so there is no score to disturb.')
    loader = evaluation_loader(model.cfg, args.max_images)
    evaluations = sum(args.repeats if scale else 1 for scale in args.scales)
    with Progress(console=Console(stderr=True)) as progress:
        task = progress.add_task(name, total=evaluations * len(loader))
        evaluate = evaluation(model, loader, lambda: progress.advance(task))
        metric = 'mIoU' if hasattr(model, 'decode_head') else 'top-1'
        return [dict(model=name, metric=metric, **draw)
                for draw in noise_sweep(projections, evaluate, args.scales, args.repeats, args.seed, heads)]


def plot(curves: dict[str, list[dict]], score: str) -> Figure:
    """Score against the noise, and its share of the clean score; error bars are one standard deviation."""
    figure, panels = new_figure(2)
    for i, (name, rows) in enumerate(curves.items()):
        scales = [row['scale'] for row in rows]
        clean = next((row['mean'] for row in rows if row['scale'] == 0), 0)
        for axes, unit in zip(panels, (1, clean)):
            if unit:
                axes.errorbar(scales, [row['mean'] / unit for row in rows], [row['std'] / unit for row in rows],
                              color=colour(i), label=name, marker='o', markersize=4, capsize=3)
    for axes in panels:
        axes.set_xlabel('noise std / rms of the weights')
        axes.set_ylim(bottom=0)
    panels[0].set_ylabel(f'{score} (%)')
    panels[1].set_ylabel(f'{score} / {score} without noise')
    figure.legend(*panels[0].get_legend_handles_labels(), loc='outside lower center', fontsize=8, frameon=False,
                  ncols=min(3, len(curves)))
    return figure


def main(args: argparse.Namespace) -> None:
    if min(args.scales) < 0:
        raise UserError('--scales: noise is not negative.')
    rows, curves = [], {}
    for name, pair in named_models(args).items():
        draws = measure(args, name, *pair)
        curves[name] = summarize(draws)
        rows += draws
        table = PrettyTable(['noise', 'mean', 'std', 'draws'], align='r')
        for row in curves[name]:
            table.add_row([f'{row["scale"]:g}', f'{row["mean"]:.2f}', f'{row["std"]:.2f}', row['repeats']])
        print(f'\n{name}\n{table}')
    figure = plot(curves, ' or '.join(dict.fromkeys(row['metric'] for row in rows)))
    print('written:', *save_numbers(rows, args.out, 'perturbation'), save_figure(figure, args.out, 'perturbation'))
