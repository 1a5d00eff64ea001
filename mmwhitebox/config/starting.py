"""A first config for data of one's own: sizes, batch, length and weights by rules that are printed."""
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from mmengine.config import Config, ConfigDict

from mmwhitebox.errors import UserError, joined

from .names import config_path
from .own_data import model_name

CROP = {'seg': 256, 'cls': 64}  # largest side of a model from scratch: minutes on two cores
PRETRAINED_CROP = {'seg': 384, 'cls': 224}  # of an encoder that comes with weights
SCALE = 2  # longest side of an image, in crops
BATCH = {'seg': 8, 'cls': 32}
EPOCHS = {'seg': 30, 'cls': 20}
ITERATIONS = (200, 600)  # a first segmentation has no fewer, no more
PRETRAINED_LR = 1e-4
STEP = 32  # sides are multiples of it, for every patch size
UNEVEN = 20  # the largest class has so many times the pixels of the smallest: classes are weighted
WEIGHTS = (0.25, 4.)
VALIDATIONS = (2, 10)  # in which at most half as many images are seen as in the training


@dataclass
class Start:
    """What a first training is like.

    Attributes:
        task (str): 'seg' or 'cls'.
        model (str): As ``recipe.model`` takes it.
        crop (tuple[int, int]): (height, width).
        scale (tuple[int, int] | None): (width, height) of a segmentation.
        batch (int): Images of a step.
        length (int): Iterations of a segmentation, epochs of a classification.
        interval (int): Between two validations, in the same.
        class_weight (list[float] | None): Of each class.
        pretrained (bool): Whether the encoder comes with weights.
        rules (list[str]): What was chosen, and why, a line each.
    """
    task: str
    model: str
    crop: tuple[int, int]
    scale: tuple[int, int] | None
    batch: int
    length: int
    interval: int
    class_weight: list[float] | None
    pretrained: bool
    rules: list[str]


def choose(task: str, model: str, sizes: Mapping[tuple[int, int], int], count: int, val_count: int,
           shares: Sequence[float] = (), crop: int | None = None, scale: tuple[int, int] | None = None,
           batch: int | None = None, epochs: int | None = None, weigh: bool = True) -> Start:
    """Choose by what was found; what is given is taken.

    Args:
        task (str): 'seg' or 'cls'.
        model (str): Name of an installed config, see ``recipe.model``.
        sizes (Mapping): (width, height) of images -> their number.
        count (int): Training images.
        val_count (int): Images of a validation.
        shares (Sequence[float]): Of the pixels, of each class.
        crop, scale, batch, epochs (optional): Instead of what the rules say.
        weigh (bool): Whether uneven classes are weighted. Defaults to True.

    Raises:
        UnknownModelError: No such model.
        UserError: It is for the other task.
    """
    pretrained, rules = bool(model_for(task, model).backbone.get('pretrained')), []
    largest = (PRETRAINED_CROP if pretrained else CROP)[task]
    rules.append(f'model {model}: ' + ('pretrained encoder, fetched when the training starts' if pretrained else
                                       'from scratch'))
    width, height = (int(np.median(np.repeat([size[axis] for size in sizes], list(sizes.values())))) for axis in (0, 1))
    if scale is None and task == 'seg':
        longest = SCALE * (crop or largest)
        shrink = min(1., longest / max(width, height))
        scale = (max(1, round(width * shrink)), max(1, round(height * shrink)))
        rules.append(f'scale {scale[0]} x {scale[1]}: the median image ({width} x {height})'
                     + (f', its longer side made {longest}, {SCALE} crops' if shrink < 1 else ''))
    if crop is None:
        shorter = min(scale or (width, height))
        crop = max(STEP, min(largest, shorter // STEP * STEP))
        rules.append(f'crop {crop}: the multiple of {STEP} in its shorter side ({shorter}), at most {largest}')
    if batch is None:
        batch = max(1, min(BATCH[task], count))
        rules.append(f'batch {batch}' + (f': all of the {count} training images' if batch < BATCH[task] else ''))
    length, interval = training_length(task, count, val_count, batch, epochs, rules)
    weights = class_weights(shares) if weigh and len(shares) else None
    if weights:
        rules.append(f'class weights {joined(weights, 12)}: square root of the median share of pixels by that of the '
                     f'class, since the largest has over {UNEVEN} times the pixels of the smallest')
    return Start(task, model, (crop, crop), scale, batch, length, interval, weights, pretrained, rules)


def model_for(task: str, model: str) -> ConfigDict:
    """The model of an installed config.

    Raises:
        UnknownModelError: No such model.
        UserError: It is for the other task.
    """
    found = Config.fromfile(config_path(model_name(model))).model
    if ('decode_head' in found) is not (task == 'seg'):
        raise UserError(f'--model {model} is for {"classification" if task == "seg" else "segmentation"}; this folder '
                        f'is for {"segmentation" if task == "seg" else "classification"}.')
    return found


def training_length(task: str, count: int, val_count: int, batch: int, epochs: int | None,
                    rules: list[str]) -> tuple[int, int]:
    """Length of a training and the interval of validations; the rule is added to ``rules``."""
    wanted: float = epochs or EPOCHS[task]
    length = math.ceil(wanted * count / batch)
    if task == 'seg' and epochs is None:
        length = min(max(length, ITERATIONS[0]), ITERATIONS[1])
        wanted = length * batch / count
    least, most = VALIDATIONS
    validations = min(most, max(least, length * batch // (2 * val_count)))
    if task == 'cls':
        length = epochs or EPOCHS[task]
    rule = f'{EPOCHS[task]} epochs'
    if task == 'seg':
        rule = f'{length} iterations, {wanted:.3g} epochs' + (
            '' if epochs else f': {rule}, but {ITERATIONS[0]} to {ITERATIONS[1]} iterations')
    elif epochs:
        rule = f'{epochs} epochs'
    rules.append(f'{rule}; {validations} validations' + ('' if epochs else '; --epochs for another length'))
    return length, max(1, length // validations)


def class_weights(shares: Sequence[float]) -> list[float] | None:
    """Weights of classes by their shares of the pixels; None if these are not uneven, or a class has none."""
    found = np.asarray(shares, float)
    if (found <= 0).any() or found.max() <= UNEVEN * found.min():
        return None
    return [round(float(weight), 2) for weight in np.clip(np.sqrt(np.median(found) / found), *WEIGHTS)]


def config_text(start: Start, own_data: Mapping[str, Any], notes: Sequence[str], has_test: bool) -> str:
    """The config: at most 15 lines.

    Args:
        start (Start): What the training is like.
        own_data (Mapping): Its ``own_data``.
        notes (Sequence[str]): Comments above, a line each.
        has_test (bool): Whether the folder has a test split.
    """
    recipe: dict[str, Any] = dict(model=start.model, crop=start.crop[0])
    if start.scale:
        recipe['scale'] = start.scale
    if start.class_weight:
        recipe['class_weight'] = start.class_weight
    unit = 'max_iters' if start.task == 'seg' else 'max_epochs'
    lines = [f'# {note}' for note in notes]
    lines.append(f"_base_ = 'mmwhitebox::_base_/datasets/own_{start.task}.py'")
    keys = [[key for key in own_data if key in group] for group in (
        ('root', 'kind', 'cache'), ('classes', 'bit_depth'), ('mapping', 'palette'), ('ignored', 'nearest'),
        ('channels', 'channel_axis', 'value_range', 'replace_nan'), ('mean', 'std'),
        ('val_share', 'seed', 'group_prefix'), ('left_out', ))]
    rows = [', '.join(f'{key}={own_data[key]!r}' for key in row) for row in keys if row]
    lines.append('own_data = dict(\n    ' + ',\n    '.join(rows) + ')')
    lines.append('recipe = dict(' + ', '.join(f'{key}={value!r}' for key, value in recipe.items()) + ')')
    lines.append(f'train_dataloader = dict(batch_size={start.batch})')
    if has_test:
        lines.append("test_dataloader = dict(dataset=dict(split='test'))")
    if start.pretrained:
        lines.append(f'optim_wrapper = dict(optimizer=dict(lr={PRETRAINED_LR}))')
    lines.append(f'train_cfg = dict({unit}={start.length}, val_interval={start.interval})')
    every = f', logger=dict(interval={max(1, start.interval // 2)})' if start.task == 'seg' else ''
    lines.append(f'default_hooks = dict(checkpoint=dict(interval={start.interval}){every})')
    return '\n'.join(lines) + '\n'
