"""What a report begins with: what the model is and costs, what it scored, what it says of some images."""
import argparse
import contextlib
import json
import sys
from collections.abc import Iterable, Sequence
from datetime import datetime
from pathlib import Path

import mmengine
import mmpretrain
import mmseg
import numpy as np
import torch
from mmengine.model import BaseModel
from PIL import Image

from mmwhitebox.apis import inference_model
from mmwhitebox.apis.exploration import Exploration
from mmwhitebox.apis.explorer_page import page as explorer_page
from mmwhitebox.apis.result import ClsResult, SegResult
from mmwhitebox.drawing import blend
from mmwhitebox.errors import UserError
from mmwhitebox.explorer.ground_truth import GroundTruth
from mmwhitebox.explorer.models import Models
from mmwhitebox.explorer.runs import Asked

from . import test
from .html_page import data_uri, encoded, shrunk, text
from .options import parse
from .report_body import Body

EXAMPLES = 4
EXPLORED = 2
MOST_CLASSES = 12  # in a legend
OPEN_ROWS = 30  # of a table that is not folded away
OPACITY = 0.6
STYLE = '''dl { display: grid; grid-template-columns: max-content 1fr; gap: .1rem 1rem; margin: .8rem 0; }
dt { color: var(--faint); } dd { margin: 0; } .failed { color: light-dark(#a33c00, #ff9d5c); }
.table { overflow-x: auto; } table { border-collapse: collapse; font-size: .85rem; font-variant-numeric: tabular-nums; }
th, td { text-align: right; font-weight: 400; padding: .1rem 1rem .1rem 0; } th:first-child { text-align: left; }
thead { color: var(--faint); } tbody tr { border-top: 1px solid var(--line); }
.panels { display: flex; gap: .5rem; font-size: .85rem; } .panels > div { flex: 0 1 17.5rem; min-width: 0; }
.panels p { margin: 0; } .panels img { width: 100%; } .panels ol { margin: 0; padding-left: 1.3rem; }
.legend { font-size: .85rem; } .legend span { display: inline-block; margin-right: 1rem; }
.legend i { display: inline-block; width: .8rem; height: .8rem; margin-right: .3rem; outline: 1px solid var(--line); }
iframe { width: min(100vw - 2rem, 110rem); margin-left: calc(50% - min(50vw - 1rem, 55rem)); height: 94vh;
  border: 1px solid var(--line); box-sizing: border-box; }
'''


def add_model(body: Body, models: Models, model: dict, paths: Sequence[str], args: argparse.Namespace) -> None:
    """Add what a report says of a model before its layers are measured.

    Args:
        body (Body): Of the page.
        models (Models): The first is it.
        model (dict): From :func:`mmwhitebox.apis.model_facts.describe_model`; its scores are those that are shown.
        paths (Sequence[str]): Images, of which a few are shown.
        args (argparse.Namespace): Of the command.
    """
    network, _, truth = models.loaded[0]
    chosen = spread(paths, min(EXAMPLES, args.max_images))
    body.add('model', 'The model', lambda: identity(model, args))
    body.add('accuracy', 'Accuracy', lambda: accuracy(model, args))
    if chosen and model['task'] != 'features':
        body.add('examples', 'Examples', lambda: examples(network, truth, chosen))
    if chosen:
        body.add('explorer', 'Every layer, on these images', lambda: explorer(
            models.exploration(Asked(0, path, Path(path).name, path)) for path in chosen[:EXPLORED]))


def spread(paths: Sequence[str], number: int) -> list[str]:
    """So many of some paths, evenly spaced."""
    number = min(number, len(paths))
    return [paths[i * len(paths) // number] for i in range(number)]


def amount(number: float, unit: str = '') -> str:
    """A large number with a prefix, three digits of it."""
    for power, prefix in ((12, 'T'), (9, 'G'), (6, 'M'), (3, 'k')):
        if number >= 0.9995 * 10**power:  # what rounds to it
            return f'{number / 10**power:.3g} {prefix}{unit}'
    return f'{number} {unit}'.rstrip()


def headline(model: dict) -> str:
    """A model in one line.

    Args:
        model (dict): From :func:`mmwhitebox.apis.model_facts.describe_model`.
    """
    facts = model['facts']
    return ' · '.join(filter(None, [
        model['task'], model['classes'] and f'{len(model["classes"])} classes',
        f'{amount(facts["parameters"])} parameters', facts['flops'] and amount(facts['flops'], 'FLOPs'),
        *(f'{name} {value:.2f}' for name, value in list(numbers(facts['metrics']).items())[:1])]))


def numbers(metrics: dict | None) -> dict[str, float]:
    """The scores of the whole set among some metrics; mIoU comes first."""
    found = {name: value for name, value in (metrics or {}).items() if isinstance(value, (int, float))}
    return dict(sorted(found.items(), key=lambda item: item[0].rpartition('/')[2] != 'mIoU'))


def identity(model: dict, args: argparse.Namespace) -> str:
    """A list of what is known of a model; what is not known is left out."""
    facts = model['facts']
    height, width = facts['flops_size']
    trained = ', '.join(filter(None, [facts['trained'], facts['date']]))
    images = ', '.join(Path(image).name for image in args.images) or 'the test set of the config'
    classes = ', '.join(map(str, model['classes']))
    lines = {
        'Config': text(facts['config']), 'Checkpoint': text(facts['checkpoint']), 'Task': text(model['task']),
        'Classes': classes and f'<details><summary>{len(model["classes"])}</summary>{text(classes)}</details>',
        'Parameters': f'{amount(facts["parameters"])} ({facts["parameters"]:,})',
        'FLOPs': facts['flops'] and f'{amount(facts["flops"])} ({facts["flops"]:,}) for {width} × {height} pixels, '
                                    'two per multiply-add',
        'Trained': text(trained), 'Images': f'{text(images)}, at most {args.max_images} of them',
        'This page': f'{datetime.now():%Y-%m-%d %H:%M}, {facts["version"]}, ' + ', '.join(
            f'{module.__name__} {module.__version__}' for module in (torch, mmengine, mmseg, mmpretrain))}
    return '<dl>' + ''.join(f'<dt>{name}</dt><dd>{line}</dd>' for name, line in lines.items() if line) + '</dl>'


def accuracy(model: dict, args: argparse.Namespace) -> str:
    """Scores of a set, then those of every class; nothing if none are known."""
    facts = model['facts']
    if args.test:
        facts['metrics'] = tested(args)
    metrics = facts['metrics']
    if not metrics:
        return ''
    where = 'On the test set of the config.' if args.test else 'As its training validated it.'
    scores = ''.join(f'<dt>{text(name)}</dt><dd>{value:.2f}</dd>' for name, value in numbers(metrics).items())
    return f'<p>{where}</p><dl>{scores}</dl>{class_table(metrics.get("classes") or {})}'


def tested(args: argparse.Namespace) -> dict:
    """Scores of the test set, in the form of :func:`mmwhitebox.apis.model_facts.kept_scores`."""
    folder, parser = Path(args.out) / 'test', argparse.ArgumentParser()
    test.add_arguments(parser)
    argv = [args.config, args.checkpoint, '--work-dir', str(folder), '--scores', str(folder / 'scores.json')]
    with contextlib.redirect_stdout(sys.stderr):
        test.run(parse(parser, argv + ['--trust-checkpoint'] * args.trust_checkpoint))
    found = json.loads((folder / 'scores.json').read_text(encoding='utf-8'))
    classes: dict[str, dict[str, float]] = {}
    for name, values in found['classes'].items():
        for label, value in values.items():
            classes.setdefault(label, {}).update({} if value is None else {name: value})
    return {**{name: value for name, value in found['scores'].items() if value is not None}, 'classes': classes}


def class_table(classes: dict[str, dict[str, float]]) -> str:
    """The scores of the classes that have any; folded away if they are many."""
    rows = {label: row for label, row in classes.items() if row}
    if not rows:
        return ''
    columns = list(dict.fromkeys(name for row in rows.values() for name in row))
    head = ''.join(f'<th scope="col">{text(name)}</th>' for name in ['Class, in percent', *columns])
    body = ''.join(f'<tr><th scope="row">{text(label)}</th>' + ''.join(
        f'<td>{row[name]:.2f}</td>' if name in row else '<td>–</td>' for name in columns) + '</tr>'
        for label, row in rows.items())
    some = f' of {len(classes)}, the others do not occur' if len(rows) < len(classes) else ''
    return (f'<details{" open" if len(rows) <= OPEN_ROWS else ""}><summary>{len(rows)} classes{some}</summary>'
            f'<div class="table"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div></details>')


def examples(model: BaseModel, truth: GroundTruth, paths: Sequence[str]) -> str:
    """What a model says of some images, beside their ground truth where there is one."""
    return ''.join(example(result, path, truth) for path, result in zip(paths, inference_model(model, list(paths))))


def example(result: SegResult | ClsResult, path: str, truth: GroundTruth) -> str:
    """A figure: the image, its ground truth if there is one, and the prediction."""
    image, legend = result.image, ''
    panels = [panel('image', image)]
    if isinstance(result, SegResult):
        masks = {'ground truth': truth.labels(path), 'prediction': result.mask}
        masks = {title: mask for title, mask in masks.items() if mask is not None}
        panels += [panel(title, painted(image, mask, result.palette)) for title, mask in masks.items()]
        legend = class_shares(result, masks.get('ground truth', result.mask))
    else:
        rows = ''.join(f'<li>{text(name)}: {score:.1%}</li>' for name, score in result.top())
        panels.append(f'<div><p>prediction</p><ol>{rows}</ol></div>')
    return f'<figure><div class="panels">{"".join(panels)}</div>{legend}<figcaption class="facts">' \
           f'{text(Path(path).name)}</figcaption></figure>'


def panel(title: str, picture: np.ndarray) -> str:
    """A picture below its title."""
    return f'<div><p>{title}</p><img alt="{title}" src="{data_uri(encoded(shrunk(picture)), "jpeg")}"></div>'


def painted(image: np.ndarray, labels: np.ndarray, palette: Sequence) -> np.ndarray:
    """An image under the colours of its labels, both small."""
    image = shrunk(image)
    small = Image.fromarray(labels.astype(np.int32)).resize(image.shape[1::-1], Image.Resampling.NEAREST)
    return blend(image, np.asarray(small), palette, OPACITY)


def class_shares(result: SegResult, truth: np.ndarray) -> str:
    """Names and colours of the classes in a prediction or in the ground truth, with what is predicted of each."""
    most = len(result.class_names)
    shares = np.bincount(result.mask.ravel(), minlength=most)[:most] / result.mask.size
    labels = np.union1d(result.mask, truth[truth < most])
    labels = labels[np.argsort(-shares[labels], kind='stable')]
    shown = ''.join('<span><i style="background:rgb({},{},{})"></i>'.format(*result.palette[label]) +
                    f'{text(result.class_names[label])} {shares[label]:.1%}</span>' for label in labels[:MOST_CLASSES])
    more = f'and {len(labels) - MOST_CLASSES} more' if len(labels) > MOST_CLASSES else ''
    return f'<p class="legend"><span>predicted:</span>{shown}{more}</p>'


def explorer(explorations: Iterable[Exploration]) -> str:
    """The explorer's page in a frame, with as many of the images as it holds; it asks nothing of anybody."""
    return ('<p>Point at a patch, choose a layer: every figure follows. What attends to what, what the representatives '
            'gather, which subspace a token belongs to, how far each layer compresses.</p>'
            f'<iframe title="The explorer" sandbox="allow-scripts allow-downloads" '
            f'srcdoc="{text(fitting_page(list(explorations)))}"></iframe>')


def fitting_page(explorations: Sequence[Exploration]) -> str:
    """The explorer's page of the first images that fit into it."""
    try:
        return explorer_page(explorations)
    except UserError:
        if len(explorations) == 1:
            raise
        return fitting_page(explorations[:-1])
