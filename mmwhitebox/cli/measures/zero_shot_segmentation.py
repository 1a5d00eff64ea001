"""What ``mmwhitebox measure zero_shot_segmentation`` does; protocol: :mod:`mmwhitebox.interpret.zero_shot`."""
import argparse
import collections
from collections.abc import Callable
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from mmengine.config import Config
from mmengine.model import BaseModel
from PIL import Image, UnidentifiedImageError
from prettytable import PrettyTable

from mmwhitebox.apis.data import evaluation_split
from mmwhitebox.apis.sources import named_images
from mmwhitebox.cli.measures.inputs import Input, iter_inputs, open_model
from mmwhitebox.cli.measures.outputs import save_figure, save_numbers
from mmwhitebox.cli.measures.selection import layers_with, named_models, select_heads
from mmwhitebox.datasets.layout import leaf_datasets
from mmwhitebox.errors import NotApplicableError, UserError, joined
from mmwhitebox.interpret.attention_map import class_token_maps, has_class_token
from mmwhitebox.interpret.map_grid import layer_label
from mmwhitebox.interpret.patch_maps import patch_size
from mmwhitebox.interpret.plot_style import colour, new_figure
from mmwhitebox.interpret.running_moments import RunningMoments
from mmwhitebox.interpret.zero_shot import TARGETS, ZeroShotScores, make_targets, score_image


def show_whole_images(cfg: Config) -> None:
    """Replace a test pipeline that crops by one that resizes to the size of the crop."""
    split = evaluation_split(cfg)
    for dataset in leaf_datasets(cfg[f'{split}_dataloader'].dataset) if split else ():
        crop = next((step for step in dataset.pipeline if 'Crop' in str(step['type'])), None)
        if crop is not None:
            size = crop['crop_size']
            size = (size, size) if isinstance(size, int) else tuple(size)
            resize = dict(type='Resize', scale=size[::-1], keep_ratio=False)
            dataset.pipeline = [dataset.pipeline[0], resize, dataset.pipeline[-1]]


def read_labels(path: str) -> np.ndarray:
    """Class indices of a palette or grey PNG, (height, width) int64."""
    try:
        with Image.open(path) as image:
            labels = np.asarray(image)
    except (OSError, UnidentifiedImageError) as error:
        raise UserError(f'The label map {path} cannot be read ({error}).') from error
    if labels.ndim != 2:
        raise UserError(f'{path} is a colour picture. Label maps are PNGs of one channel that hold class indices.')
    return labels.astype(np.int64)


def label_source(args: argparse.Namespace) -> Callable[[Input], np.ndarray]:
    """A function that gives the label map of an image; narrows ``args.images`` to those that have one.

    Raises:
        UserError: --masks without images, or a folder or split file that does not fit them.
    """
    if args.masks is None:
        if args.images or args.split:
            raise UserError('Images and --split need --masks: the folder with their label maps (PNG of the same name).')

        def of_sample(item: Input) -> np.ndarray:
            if 'gt_sem_seg' not in item.sample:
                raise NotApplicableError("The config's test dataset has no label maps. Give images and --masks.")
            return item.sample.gt_sem_seg.data.squeeze(0).cpu().numpy().astype(np.int64)

        return of_sample
    if not args.images:
        raise UserError('--masks needs images: give the folder of the images.')
    masks = {name: path for path, name in named_images([args.masks])}
    by_stem = collections.defaultdict(list)
    for name in masks:
        by_stem[Path(name).name].append(name)
    pairs = {}
    for path, name in named_images(args.images):
        alike = [name] if name in masks else by_stem[Path(name).name]
        if len(alike) > 1:
            raise UserError(f'{path}: several label maps have its name: {", ".join(alike[:3])}. Give the folder above '
                            'the subfolders of the images, which must be called as those of the label maps.')
        if alike:
            pairs[path] = alike[0]
    if args.split:
        if not Path(args.split).is_file():
            raise UserError(f'--split {args.split}: there is no such file.')
        wanted = set(Path(args.split).read_text().split())
        pairs = {path: name for path, name in pairs.items() if {name, Path(name).name} & wanted}
    if not pairs:
        raise UserError(f'None of the images has a label map of its name in {args.masks}'
                        f'{f" and is listed in {args.split}" if args.split else ""}.')
    args.images = list(pairs)
    return lambda item: read_labels(masks[pairs[item.sample.img_path]])


def label_indices(text: str | None, model: BaseModel, option: str) -> list[int] | None:
    """Labels of ``--foreground`` or ``--background``: indices or class names, separated by commas."""
    if text is None:
        return None
    classes = list(model.dataset_meta.get('classes', ())) if hasattr(model, 'decode_head') else []
    indices = []
    for part in (part.strip() for part in text.split(',')):
        if part not in classes and not part.isdigit():
            known = f' Classes: {joined(classes)}.' if classes else ' Of a classifier, give indices.'
            raise UserError(f'{option} {text}: there is no class {part!r}.{known}')
        indices.append(int(part) if part.isdigit() else classes.index(part))
    return indices


def target_arguments(args: argparse.Namespace, model: BaseModel) -> dict:
    """Arguments of make_targets that the options ask for."""
    foreground, background = (label_indices(getattr(args, name), model, f'--{name}')
                              for name in ('foreground', 'background'))
    if foreground is None and background is None:
        classes = list(model.dataset_meta.get('classes', ())) if hasattr(model, 'decode_head') else []
        if args.masks is None and not classes:
            raise NotApplicableError('The test dataset of a classifier has no label maps. Give images and --masks.')
        if args.masks is None and 'background' not in classes:
            raise NotApplicableError('The dataset has no class "background": say which classes are --foreground, or '
                                     f'which are --background. Classes: {joined(classes)}.')
        background = [0 if args.masks else classes.index('background')]
    return dict(foreground=foreground, background=background or [], boundary_width=args.boundary_width)


def measure(args: argparse.Namespace, labels: Callable[[Input], np.ndarray], config: str,
            checkpoint: str) -> tuple[list[dict], np.ndarray]:
    """Rows of the scores of one model, and the mean share of the pixels that each target has."""
    model = open_model(args, config, checkpoint)
    show_whole_images(model.cfg)
    layers = layers_with(model, args.layers, lambda name, layer: has_class_token(model, name, layer),
                         'class token that looks at patches')
    heads = select_heads(args.heads, layers.values())
    target_args = target_arguments(args, model)
    scores, shares = ZeroShotScores(), RunningMoments()
    for item in iter_inputs(model, args):
        targets = make_targets(labels(item), **target_args)
        maps = {name: values[heads] for name, values in class_token_maps(model, item.tensor, layers).items()}
        scores.add(score_image(maps, targets, item.sample.img_shape[:2], patch_size(model), args.threshold))
        shares.update(targets.masks.mean((1, 2)))
    rows = scores.rows()
    for row in rows:
        row['head'] = ':'.join([*row['head'].split(':')[:-1], str(heads[int(row['head'].split(':')[-1])])])
    return rows, shares.mean


def plot(results: dict[str, list[dict]]) -> Figure:
    """Best-head scores against the layer, one panel for each target, one colour for each model (table 6).

    The dashed line is the best map of all layers (table 5).
    """
    shown = [target for target in TARGETS if any(row['target'] == target for rows in results.values() for row in rows)]
    figure, panels = new_figure(len(shown))
    for axes, target in zip(panels, shown):
        ticks: list[str] = []
        for i, (name, rows) in enumerate(results.items()):
            rows = [row for row in rows if row['target'] == target]
            layers = [layer_label(row['layer']).removeprefix('encoder ') for row in rows[:-1]]
            ticks = max(ticks, layers, key=len)
            axes.plot([row['best_head'] for row in rows[:-1]], marker='o', markersize=4, color=colour(i), label=name)
            axes.axhline(rows[-1]['best_head'], color=colour(i), linestyle='--', linewidth=1,
                         label=f'{name}, all layers')
        axes.set_xticks(range(len(ticks)), ticks)
        axes.set_xlabel('layer')
        axes.set_title(target)
        axes.set_ylim(bottom=0)
    panels[0].set_ylabel('Jaccard index, best head')
    figure.legend(*panels[0].get_legend_handles_labels(), loc='outside lower center', fontsize=8, frameon=False,
                  ncols=min(4, 2 * len(results)))
    return figure


def show(name: str, rows: list[dict], shares: np.ndarray) -> str:
    """Table of one model."""
    shown = list(dict.fromkeys(row['target'] for row in rows))
    table = PrettyTable(['layer', *shown, *(f'{target}, fixed head' for target in shown)], align='r')
    for layer in dict.fromkeys(row['layer'] for row in rows):
        cells = {row['target']: row for row in rows if row['layer'] == layer}
        table.add_row([layer, *(f'{cells[target]["best_head"]:.3f}' for target in shown),
                       *(f'{cells[target]["fixed_head"]:.3f} ({cells[target]["head"].rpartition(":")[2]})'
                         for target in shown)])
    counts = ', '.join(f'{row["target"]} in {row["images"]}' for row in rows if row['layer'] == 'all')
    whole = ', '.join(f'{target} {share:.2f}' for target, share in zip(TARGETS, shares) if target in shown)
    return (f'\n{name}: Jaccard index by the best head of each image, and by one fixed head (its number)\n{table}\n'
            f'Images: {counts}. Share of the pixels: {whole}.')


def main(args: argparse.Namespace) -> None:
    if args.foreground and args.background:
        raise UserError('Give --foreground or --background, not both.')
    labels, results = label_source(args), {}
    for name, pair in named_models(args).items():
        results[name], shares = measure(args, labels, *pair)
        print(show(name, results[name], shares))
    rows = [dict(model=name, threshold='best' if args.threshold is None else args.threshold, **row)
            for name, found in results.items() for row in found]
    print('written:', *save_numbers(rows, args.out, 'zero_shot'), save_figure(plot(results), args.out, 'zero_shot'))
