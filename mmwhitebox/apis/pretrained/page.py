"""The model card: README.md with the front matter that the hub reads."""
from collections.abc import Iterator
from typing import Any

TAGS = dict(segmentation='image-segmentation', classification='image-classification',
            features='image-feature-extraction')
METRICS = {'mIoU': 'mean_iou', 'accuracy/top1': 'accuracy', 'aAcc': 'accuracy'}  # as the hub calls them
RECIPE = dict(data='data', start='start', optimizer='optimizer', schedule='learning rate', length='length',
              batch='batch', augmentation='augmentation', average='average of the weights', seed='seed')
MOST_CLASSES = 200


def page_of(info: dict[str, Any], licence: str | None, name: str, folder: str) -> str:
    """The card of a model.

    Args:
        info (dict): What ``config.json`` says.
        licence (str, optional): Identifier; None: not stated.
        name (str): Of the model.
        folder (str): Name of the folder, for the lines that load it.
    """
    return '\n'.join(['---', front_matter(info, licence, name), '---', '', *body(info, licence, name, folder), ''])


def front_matter(info: dict[str, Any], licence: str | None, name: str) -> str:
    """What the hub reads, as YAML."""
    from huggingface_hub import EvalResult, ModelCardData

    metrics, task = info.get('metrics'), TAGS[info['task']]
    data = (info.get('recipe') or {}).get('data') or 'unknown'
    evaluated = [EvalResult(
        task_type=task, dataset_type=data.lower(), dataset_name=data, dataset_split=metrics['on'],
        metric_type=METRICS.get(key, key.lower().replace('/', '_')), metric_name=key, metric_value=value)
        for key, value in metrics['scores'].items()] if metrics else None
    return ModelCardData(library_name='mmwhitebox', pipeline_tag=task, tags=['mmwhitebox', 'white-box-transformer'],
                         license=licence, model_name=name, eval_results=evaluated or None).to_yaml()


def cell(text: Any) -> str:
    """A text in a table of Markdown."""
    return ' '.join(str(text).split()).replace('|', '\\|').replace('<', '&lt;')


def rows(head: list[str], lines: list[list[Any]]) -> Iterator[str]:
    """A table of Markdown."""
    for line in (head, ['---'] * len(head), *lines):
        yield f'| {" | ".join(map(cell, line))} |'
    yield ''


def number(value: float | None, ends: list | None = None) -> str:
    """A score with its interval, if there is one."""
    if value is None:
        return '-'
    return f'{value:.2f}' + (f' [{ends[0]:.2f}, {ends[1]:.2f}]' if ends and None not in ends else '')


def body(info: dict[str, Any], licence: str | None, name: str, folder: str) -> Iterator[str]:
    """The card below its front matter."""
    yield from [f'# {cell(name)}', '']
    what = dict(segmentation='Semantic segmentation', classification='Image classification').get(
        info['task'], f'A part of a model: {info["part"]}')
    weights = f', {info["weights"]} weights' if info.get('weights') else ''
    yield f'{what}, {info["parameters"]:,} parameters{weights}.'
    if info.get('classes'):
        size = ' x '.join(map(str, info['image_size']))
        yield f'{len(info["classes"])} classes; made for images of {size} pixels (height x width).'
    yield from ['', '## Use', '', '```python', *loading(info, folder), '```', '']
    if info['task'] != 'features':
        yield from [f'On a command line: `mmwhitebox infer {folder} my_photos/`. Nothing in this folder is run.', '']
    recipe = info.get('recipe') or {}
    if recipe:
        yield from ['## Data and training', '', 'As the config says:', '']
        yield from rows(['', ''], [[label, recipe[key]] for key, label in RECIPE.items() if key in recipe])
    if info['task'] != 'features':
        yield from ['## Results', '', *scored(info.get('metrics'))]
    if info.get('mean'):
        yield from ['## Images', '', f'Channels {info["channel_order"]}, mean {info["mean"]}, standard deviation '
                    f'{info["std"]} of pixels {info["pixels"]}. The steps before: `test_pipeline` of config.json.', '']
    yield from ['## Licence', '', licence or 'Not stated.', '']
    yield from ['## Versions', '', ', '.join(f'{key} {value}' for key, value in info['versions'].items())]


def loading(info: dict[str, Any], folder: str) -> Iterator[str]:
    """The lines that load it."""
    if info['task'] == 'features':
        yield from ['from mmwhitebox.apis import from_pretrained', '',
                    f"{info['part'] if str(info['part']).isidentifier() else 'part'} = from_pretrained({folder!r})"]
        return
    yield from ['from mmwhitebox.apis import from_pretrained, inference_model', '',
                f'model = from_pretrained({folder!r})  # a folder, or a name on the hub',
                "result = inference_model(model, 'photo.jpg')"]


def scored(metrics: dict[str, Any] | None) -> Iterator[str]:
    """What is known of how good it is."""
    if not metrics:
        yield from ['None are known of these weights.', '']
        return
    intervals = metrics.get('intervals', {})
    when = f', at {metrics["when"]}' if metrics.get('when') else ''
    images = f', {metrics["images"]} images' if metrics.get('images') else ''
    yield f'On the {metrics["on"]} set{images}{when}, in the units of the log (shares in percent).'
    if intervals and metrics.get('bootstrap'):
        drawn = metrics['bootstrap']
        yield f'Intervals of {100 * drawn["level"]:g} %, bootstrap over the images with {drawn["draws"]} draws.'
    elif intervals:
        yield 'Intervals by bootstrap over the images.'
    yield ''
    yield from rows(['score', 'value'], [[key, number(value, intervals.get(key))]
                                         for key, value in metrics['scores'].items()])
    classes = metrics.get('classes') or {}
    labels = list(dict.fromkeys(label for values in classes.values() for label in values))
    if 0 < len(labels) <= MOST_CLASSES:
        ends = metrics.get('class_intervals') or {}
        yield from rows(['class', *classes], [
            [label, *(number(values.get(label), (ends.get(key) or {}).get(label)) for key, values in classes.items())]
            for label in labels])
