"""What to type against what the check of the data found: a line of the config, an option, or a command.

Applied as it stands, a remedy makes its finding vanish. What has none is told in words, in the finding.
"""
import re
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from mmengine.config import Config
from mmengine.registry import DATASETS, TRANSFORMS

from mmwhitebox.config_parts import SPLITS, Part, datasets, heads, pipelines
from mmwhitebox.datasets.check_report import CheckedSet, class_names, class_table
from mmwhitebox.datasets.checking import Finding
from mmwhitebox.datasets.folder import OfFolder
from mmwhitebox.datasets.image_io import BROKEN_IMAGE, QUARTER_TURNS, orientation_of
from mmwhitebox.datasets.training_view import bins_of
from mmwhitebox.datasets.transforms import LoadImage

from .starting import STEP, class_weights

HOW = {
    'line': 'add to the config:',
    'option': 'add to the command:',
    'command': 'type:',
}
USELESS = ('missing mask', 'empty file', 'small image', 'unreadable image', 'unreadable mask', 'crash', 'all ignored',
           'empty mask', 'duplicate', 'leak', 'near duplicate', 'near leak', 'label conflict')
RESIZE = ('import sys; from PIL import Image; [Image.open(mask).resize(Image.open(image).size, Image.NEAREST)'
          '.save(mask) for image, mask in zip(sys.argv[1::2], sys.argv[2::2])]')
SWAP = ("import sys; from PIL import Image; [Image.merge('RGB', Image.open(mask).convert('RGB').split()[::-1])"
        '.save(mask) for mask in sys.argv[1:]]')
FEW_NEAR, MOST_NEAR = 3, 0.05  # samples, and share of a set, that are left out as nearly the same
MOST_VALUES = 24  # that are ignored one by one
MOST_LARGER = 4  # times as large, that images are resized against tiny classes
EMPTY_CROPS = 0.05


class Remedy(NamedTuple):
    """Something to type: ``how`` (of :data:`HOW`) and ``text``."""
    how: str
    text: str

    def __str__(self) -> str:
        return f'{HOW[self.how]} {self.text}'


def remedy(cfg: Config, checked: CheckedSet, found: Sequence[Finding]) -> Remedy | None:
    """What to type against findings of one kind in a set; None if nothing is known.

    Args:
        cfg (Config): Full config, filled in.
        checked (CheckedSet): The set.
        found (Sequence[Finding]): All that it has of the kind.
    """
    kind = found[0].kind
    if kind == 'near duplicate' and len(found) > max(FEW_NEAR, MOST_NEAR * len(checked.checker)):
        return None  # of a film, say: what is left would be another data set
    if kind in USELESS:
        return without(cfg, checked, found)
    if kind == 'unpaired mask':
        return Remedy('command', shlex.join(['rm', *(finding.file for finding in found)]))
    maker = MAKERS.get(kind)
    with TRANSFORMS.switch_scope_and_registry(cfg.get('default_scope') or 'mmseg'), \
            DATASETS.switch_scope_and_registry(cfg.get('default_scope') or 'mmseg'):
        return maker(cfg, checked, found) if maker else None


def own(cfg: Config, key: str, value: Any, table: str = 'own_data') -> Remedy:
    """A line that sets a key of ``own_data`` or ``recipe``."""
    return Remedy('line', f'{table}[{key!r}] = {value!r}' if states(cfg, table) else f'{table} = dict({key}={value!r})')


def own_too(cfg: Config, key: str, values: Sequence) -> Remedy:
    """A line that adds to a list of ``own_data``; several of them may follow each other."""
    known = cfg.own_data.get(key)
    if states(cfg, 'own_data') and isinstance(known, (list, type(None))):
        return Remedy('line', f"own_data.setdefault({key!r}, []).extend({list(values)!r})")
    return own(cfg, key, [*(known or ()), *values])


def states(cfg: Config, table: str) -> bool:
    """Whether the config's own file says ``own_data`` or ``recipe``, not one that it inherits alone."""
    text = Path(cfg.filename).read_text(encoding='utf-8') if cfg.filename else ''
    return re.search(rf'^{table}\s*=', text, re.M) is not None


def names_values(cfg: Config) -> bool:
    """Whether ``own_data`` says what values or colours of the masks mean."""
    return 'own_data' in cfg and any(cfg.own_data.get(key) for key in ('mapping', 'palette'))


def options(paths: Sequence[str], value: Any) -> Remedy | None:
    """An option that sets keys of the config to a value."""
    text = repr(value).replace(' ', '') if not isinstance(value, str) else value
    return Remedy('option', shlex.join(['--cfg-options', *(f'{path}={text}' for path in dict.fromkeys(paths))])) \
        if paths else None


def without(cfg: Config, checked: CheckedSet, found: Sequence[Finding]) -> Remedy | None:
    """Leaves samples out: by name where the config can, else their files are deleted."""
    dataset = checked.checker.dataset
    infos = [dataset.get_data_info(place) for place in
             dict.fromkeys(finding.sample for finding in found if finding.sample is not None)]
    files = [str(info['img_path']) for info in infos if info.get('img_path')]
    if not files:
        return None
    if 'own_data' in cfg and isinstance(dataset, OfFolder):
        root = Path(dataset.data_root).expanduser()
        return own_too(cfg, 'left_out', [Path(file).relative_to(root).as_posix() for file in files])
    if dataset.ann_file:  # it lists them
        return None
    masks = [str(info['seg_map_path']) for info in infos if info.get('seg_map_path')]
    there = [file for file in (*files, *masks) if Path(file).is_file()]
    return Remedy('command', shlex.join(['rm', *there]))


def zero_reduced(cfg: Config, checked: CheckedSet, found: Sequence[Finding]) -> Remedy | None:
    """For labels from 1: says so."""
    if 'own_data' in cfg:
        return own(cfg, 'mapping', dict(enumerate(class_names(checked), 1)))
    return options([f'{part.path}.reduce_zero_label' for split in SPLITS for part in datasets(cfg, split)], True)


def zero_and_255(cfg: Config, checked: CheckedSet, found: Sequence[Finding]) -> Remedy | None:
    """For two classes in masks of 0 and 255."""
    names = class_names(checked)
    return own(cfg, 'mapping', {0: names[0], 255: names[1]}) if 'own_data' in cfg and len(names) == 2 else None


def absent(cfg: Config, checked: CheckedSet, found: Sequence[Finding]) -> Remedy | None:
    """For classes that do not occur: the others, where values or labels are named so that they stay what they are."""
    if 'train' not in checked.splits or not names_values(cfg):
        return None
    gone = {name for finding in found for name in finding.values}
    left = [name for name in class_names(checked) if name not in gone]
    return own(cfg, 'classes', left) if len(left) > 1 else None


def swapped(cfg: Config, checked: CheckedSet, found: Sequence[Finding]) -> Remedy | None:
    """For colours with red and blue swapped: the palette so, or the masks if only some are."""
    if 'own_data' in cfg and checked.masks == 0 and cfg.own_data.get('palette'):
        return own(cfg, 'palette', {name: reversed_colours(colours) for name, colours in cfg.own_data.palette.items()})
    return Remedy('command', shlex.join(['python', '-c', SWAP, *(finding.file for finding in found)]))


def of_one_size(cfg: Config, checked: CheckedSet, found: Sequence[Finding]) -> Remedy | None:
    """For masks of another size: photographs as they are stored, masks resized, or left out if their shape differs."""
    dataset = checked.checker.dataset
    images = [str(dataset.get_data_info(finding.sample).get('img_path')) for finding in found]
    if all("set exif='ignore'" in finding.message for finding in found):
        lying = sum(orientation(dataset.get_data_info(place).get('img_path')) in QUARTER_TURNS
                    for place in range(len(dataset)))
        return options([f'{step.path}.exif' for step in loading_steps(cfg)], 'ignore') if lying == len(found) else None
    shapes = [(mask, image) for mask, image in (finding.values for finding in found)]
    alike = all(abs(mask[0] * image[1] - mask[1] * image[0]) <= max(image) for mask, image in shapes)
    if alike and all(orientation(image) == 1 for image in images):
        pairs = [path for image, finding in zip(images, found) for path in (image, finding.file)]
        return Remedy('command', shlex.join(['python', '-c', RESIZE, *pairs]))
    return without(cfg, checked, found)


def orientation(file: str | None) -> int:
    """EXIF orientation of an image; 1 if it cannot be read."""
    try:
        return orientation_of(str(file))
    except BROKEN_IMAGE:
        return 1


def loading_steps(cfg: Config) -> list[Part]:
    """The steps of all pipelines that load images."""
    return [step for split in SPLITS for step in pipelines(cfg, split)
            if step.cls is not None and issubclass(step.cls, LoadImage)]


def reversed_colours(colours: Any) -> Any:
    """A colour, or a list of them, from the last channel to the first."""
    several = len(colours) > 0 and not isinstance(colours[0], int)
    return [tuple(colour[::-1]) for colour in colours] if several else tuple(colours[::-1])


def ignoring(cfg: Config, checked: CheckedSet, found: Sequence[Finding]) -> Remedy | None:
    """For values or colours that the table does not name."""
    values = list(dict.fromkeys(value for finding in found for value in finding.values))
    named = all(finding.values for finding in found) and len(values) <= MOST_VALUES and names_values(cfg)
    return own_too(cfg, 'ignored', values) if named else None


def nearest(cfg: Config, checked: CheckedSet, found: Sequence[Finding]) -> Remedy | None:
    """For masks that are not exact."""
    return own(cfg, 'nearest', True) if names_values(cfg) else None


def used_bits(cfg: Config, checked: CheckedSet, found: Sequence[Finding]) -> Remedy | None:
    """For images that use fewer bits than they have."""
    bits = found[0].values[0]
    if 'own_data' in cfg:
        return own(cfg, 'bit_depth', bits)
    return options([f'{step.path}.bit_depth' for step in loading_steps(cfg)], bits)


def weights(cfg: Config, checked: CheckedSet, found: Sequence[Finding]) -> Remedy | None:
    """For uneven classes: weights as ``mmwhitebox new`` chooses them; 1 for a class that does not occur."""
    if {'empty class', 'class never occurs', 'label out of range'} & {finding.kind for finding in checked.findings}:
        return None  # other classes first
    shares = [row['share'] for row in class_table(checked)]
    those = iter(class_weights([share for share in shares if share]) or ())
    each = [next(those, 1.) if share else 1. for share in shares]
    if 'recipe' in cfg:
        return own(cfg, 'class_weight', each, 'recipe')
    paths = [f'{path}.{key}.class_weight' for path, head in heads(cfg) for key in ('loss_decode', 'loss')
             if 'CrossEntropyLoss' in str((head.get(key) or {}).get('type'))]
    return options(paths, each)


def larger_scale(cfg: Config, checked: CheckedSet, found: Sequence[Finding]) -> Remedy | None:
    """For tiny classes: a size at which most of their pixels lie in areas no smaller than a patch."""
    view = checked.checker.view
    if 'recipe' not in cfg or not cfg.recipe.get('scale') or view.patch is None:
        return None
    for quarter in range(1, 1 + int(4 * (MOST_LARGER - 1))):
        factor = 1 + quarter / 4
        wanted = int(bins_of(view.patch ** 2 / factor ** 2)) + 1  # areas of these bins may be smaller
        if all(2 * checked.areas[finding.values[0], :wanted].sum() <= checked.areas[finding.values[0]].sum()
               for finding in found):
            return own(cfg, 'scale', tuple(round(side * factor) for side in cfg.recipe.scale), 'recipe')
    return None


def larger_crop(cfg: Config, checked: CheckedSet, found: Sequence[Finding]) -> Remedy | None:
    """For crops in which no pixel counts: twice as large, or without the worst masks."""
    if 'recipe' in cfg and checked.empty_crops[:, 1].sum() <= EMPTY_CROPS * checked.masks:
        return own(cfg, 'crop', 2 * max(checked.checker.view.crop) // STEP * STEP, 'recipe')
    order = sorted(range(len(checked.empty_crops)), key=lambda place: -checked.empty_crops[place, 0])
    left, masks, worst = float(checked.empty_crops[:, 0].sum()), checked.masks, []
    while left > EMPTY_CROPS * masks and len(worst) < masks // 2:
        left, masks = left - float(checked.empty_crops[order[len(worst)], 0]), masks - 1
        worst.append(order[len(worst)])
    return without(cfg, checked, [found[0]._replace(sample=place) for place in worst]) \
        if left <= EMPTY_CROPS * masks else None


def same_number(cfg: Config, checked: CheckedSet, found: Sequence[Finding]) -> Remedy | None:
    """For a model of another number of classes."""
    paths = [f'{path}.num_classes' for path, head in heads(cfg) if 'num_classes' in head]
    return options(paths, checked.checker.num_classes) if 'the model has' in found[0].message else None


MAKERS = {
    'size mismatch': of_one_size, 'label out of range': ignoring, 'inexact mask': nearest, 'swapped colours': swapped,
    'labels from one': zero_reduced, '0/255 mask': zero_and_255, 'JPEG mask': nearest, 'bit depth': used_bits,
    'empty class': absent, 'classes differ': same_number, 'class never occurs': absent, 'uneven classes': weights,
    'tiny class': larger_scale, 'empty crops': larger_crop,
}
