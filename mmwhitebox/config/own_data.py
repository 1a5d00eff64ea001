"""Data of one's own: what a config says once, in ``own_data`` and ``recipe``, put wherever the stack asks for it.

::

    _base_ = 'mmwhitebox::_base_/datasets/own_seg.py'
    own_data = dict(root='/data/roads', mapping={0: 'background', 255: 'road'})
    recipe = dict(model='cbt_decoder_cbt_mini', crop=256, scale=(640, 480))

``own_data`` (the names of classes are in ``classes``, ``mapping`` or ``palette``):

============================== =====================================================================================
root                           the folder, in any layout that :mod:`mmwhitebox.datasets.formats` understands
classes                        names in the order of the labels, or a text file in root with a name a line
mapping, palette, ignored,     what values or colours of masks mean: see :class:`mmwhitebox.datasets.label_map.LabelMap`
nearest                        (of a classification: labels in the folder -> classes, and labels to leave out)
val_share, seed, group_prefix  how images are divided where the folder has no splits
left_out                       images that are no samples, by their paths from root
kind                           which annotations to take, where the folder holds several kinds
bit_depth                      bits that the values of images of 16 bits use, 12 of many cameras; 8 of them are kept
channels                       of every image, if they are not photographs: the network, and what stands below, follow
value_range                    (LOW, HIGH), values of the files that become 0 and 255, all bits kept: float32
mean, std                      of each channel, in the order of the files, after value_range; measured by ``new``
replace_nan                    value that is read where a file has NaN or infinity
channel_axis                   'first' or 'last', of TIFFs that do not say it
display                        what pictures show: numbers of three channels, from 1, or of one; else the first three
cache                          folder for masks that are drawn of polygons or of several files per image
============================== =====================================================================================

The number of classes of heads, losses and steps, and the data sets' names and colours, are set from it. ``recipe``:

============================== =====================================================================================
model                          name of an installed config whose model is taken; the name of its data may be left out.
                               What the config says under ``model`` is merged into it
crop                           side, or (height, width), of what the model is trained on
scale                          (width, height) into which images are resized first; segmentation alone
class_weight                   weights of the classes in the loss, in the order of the labels
============================== =====================================================================================

The schedulers are stretched to the length in ``train_cfg``. A config is filled in when it is read
(:func:`.reading.load_config`); ``mmwhitebox config`` prints the whole, which plain mmengine reads too.
"""
import copy
import difflib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.registry import TRANSFORMS

from mmwhitebox.config_parts import SPLITS, get, heads, listed, make_part, steps
from mmwhitebox.datasets.label_map import LabelMap
from mmwhitebox.datasets.layout import datasets_of
from mmwhitebox.datasets.transforms import LoadImage, LoadSegAnnotation
from mmwhitebox.errors import ConfigError, joined

from .colour_steps import unfit
from .names import config_path, list_models

OF_FOLDER = ('kind', 'val_share', 'seed', 'group_prefix', 'left_out', 'cache')
OF_MASKS = ('mapping', 'palette', 'ignored', 'nearest')
OF_IMAGES = ('bit_depth', 'channels', 'value_range', 'replace_nan', 'channel_axis')
OWN_DATA = ('root', 'classes', 'mean', 'std', 'display', *OF_IMAGES, *OF_MASKS, *OF_FOLDER)
RECIPE = ('model', 'crop', 'scale', 'class_weight')
MODELS_DATA = ('ade20k', 'camvid', 'cityscapes', 'imagenet')  # what a name of a model may leave out
PIPELINES = ('train_pipeline', 'test_pipeline', 'tta_pipeline')
BASES = "'mmwhitebox::_base_/datasets/own_seg.py' (or own_cls.py)"


def fill_own_data(cfg: Config) -> None:
    """Put what ``own_data`` and ``recipe`` say wherever it belongs; a config without ``own_data`` stays as it is.

    Doing it again changes nothing.

    Args:
        cfg (Config): Full config; it is changed.

    Raises:
        ConfigError: Unknown keys, no root, no or contradicting names of classes, sizes that are none.
        UnknownModelError: ``recipe.model`` is no installed config.
    """
    if 'own_data' not in cfg:
        return
    own, recipe = checked(cfg, 'own_data', OWN_DATA), checked(cfg, 'recipe', RECIPE)
    if not own.get('root'):
        raise ConfigError('own_data.root, the folder of the data, is not set.')
    if 'model' in recipe:
        take_model(cfg, recipe)
    if not isinstance(cfg.get('model'), dict):
        raise ConfigError(f'A config with own_data needs a model: recipe=dict(model=NAME), as in {BASES}.')
    segments = 'decode_head' in cfg.model
    classes, palette = classes_of(own, segments)
    cfg.own_data.classes = classes
    metainfo = dict(classes=classes) if palette is None else dict(classes=classes, palette=palette)
    if 'channels' in own or 'value_range' in own:
        metainfo['shown'] = shown(own)
    fill_datasets(cfg, own, segments, metainfo)
    fill_steps(cfg, own, recipe, len(classes))
    fill_model(cfg, recipe, segments, len(classes))
    fill_channels(cfg, own)
    stretch_schedule(cfg)


def checked(cfg: Config, key: str, known: tuple[str, ...]) -> dict:
    """A dict of the config, without what is None.

    Raises:
        ConfigError: It is none, or has unknown keys.
    """
    value = cfg.get(key) or {}
    if not isinstance(value, dict):
        raise ConfigError(f'{key}={value!r} must be a dict.')
    for name in value:
        if name not in known:
            near = difflib.get_close_matches(name, known, 1)
            raise ConfigError(f'{key}.{name}: unknown key; ' + (f'did you mean {near[0]!r}?' if near else
                                                               f'known are {joined(known, len(known))}.'))
    return {name: item for name, item in value.items() if item is not None}


def take_model(cfg: Config, recipe: dict) -> None:
    """Take the model of an installed config; what the config says under ``model`` is merged into it."""
    taken = Config(dict(model=Config.fromfile(config_path(model_name(recipe['model']))).model))
    if 'crop' in recipe and 'decode_head' in taken.model:
        taken.model.test_cfg = window(recipe)
    taken.merge_from_dict(dict(model=cfg.get('model') or {}))
    cfg.model = taken.model
    cfg.recipe.model = None  # it stands in the config now


def model_name(name: str) -> str:
    """The installed config that a name means: its own, or that of the model on data that we know."""
    names = set(list_models())
    return next((full for full in (name, *(f'{name}_{data}' for data in MODELS_DATA)) if full in names), name)


def classes_of(own: dict, segments: bool) -> tuple[list[str], list | None]:
    """Names of the classes in the order of their labels, and their colours if the masks have some."""
    names = own.get('classes')
    if isinstance(names, str):
        path = Path(own['root']).expanduser() / names
        if not path.is_file():
            raise ConfigError(f'own_data.classes={names!r}: there is no file {path} with a name a line. A list of '
                              "names is (NAME, NAME, ...).")
        names = [line.strip() for line in path.read_text(encoding='utf-8').splitlines() if line.strip()]
    names = [str(name) for name in names] if names else None
    mapping = own.get('mapping')
    if segments and (mapping or own.get('palette')):
        table = LabelMap(mapping, own.get('palette'), names, own.get('ignored', ()), nearest=own.get('nearest', False))
        return list(table.classes), table.colours and [list(colour) for colour in table.colours]
    if not segments and mapping:
        names = names or list(dict.fromkeys(map(str, mapping.values())))
        missing = [name for name in names if name not in set(mapping.values())]
        if missing:
            raise ConfigError(f'own_data.classes names {joined(missing)}, which no label of own_data.mapping becomes.')
    if not names:
        raise ConfigError('own_data does not name the classes: classes=(NAME, ...)' + (
            ', or mapping={VALUE: NAME} or palette={NAME: (R, G, B)} of the masks.' if segments else '.'))
    if len(set(names)) < len(names):
        twice = sorted({name for name in names if names.count(name) > 1})
        raise ConfigError(f'own_data.classes names {joined(twice)} twice: name each once.')
    return names, None


def fill_datasets(cfg: Config, own: dict, segments: bool, metainfo: dict) -> None:
    """Folder, division, names and colours, of every data set of a folder."""
    found = False
    for split in SPLITS:
        for dataset in datasets_of(cfg, split):
            kind = str(dataset.get('type')).rpartition('.')[2]
            if kind not in ('FolderSegDataset', 'FolderClsDataset'):
                continue
            if (kind == 'FolderSegDataset') is not segments:
                raise ConfigError(f'recipe.model is a {"segmentor" if segments else "classifier"}, but '
                                  f'{split}_dataloader.dataset is a {kind}.')
            found = True
            for key in (*OF_FOLDER, 'mapping', 'ignored'):
                dataset.pop(key, None)
            dataset.update(data_root=own['root'], **{key: own[key] for key in OF_FOLDER if key in own})
            if not segments:
                dataset.update({key: own[key] for key in ('mapping', 'ignored') if key in own})
            dataset['metainfo'] = copy.deepcopy(metainfo)
    if not found:
        raise ConfigError(f'own_data is for the data sets of a folder: take {BASES} as _base_.')


def fill_steps(cfg: Config, own: dict, recipe: dict, count: int) -> None:
    """Classes and sizes, of the steps of every pipeline."""
    crop = sides(recipe['crop'], 'recipe.crop') if 'crop' in recipe else None
    scale = sides(recipe['scale'], 'recipe.scale') if 'scale' in recipe else None
    with TRANSFORMS.switch_scope_and_registry(cfg.get('default_scope') or 'mmseg'):
        for step in all_steps(cfg):
            name = step.cls.__name__ if step.cls is not None else None
            if step.cls is not None and issubclass(step.cls, LoadSegAnnotation):
                for key in OF_MASKS:
                    step.cfg.pop(key, None)
                table = {key: own[key] for key in OF_MASKS if key in own}
                if 'mapping' in table or 'palette' in table:
                    step.cfg.update(table, classes=list(cfg.own_data.classes))
                step.cfg['num_classes'] = count
            elif step.cls is not None and issubclass(step.cls, LoadImage):
                step.cfg.update({key: own[key] for key in OF_IMAGES if key in own})
            elif scale and (name == 'RandomResize' or (name == 'Resize' and 'scale' in step.cfg)):
                step.cfg['scale'] = scale
            elif crop and name == 'RandomCrop':
                step.cfg['crop_size'] = crop
            elif crop and not scale and name in ('RandomResizedCrop', 'Resize') and 'scale' in step.cfg:
                step.cfg['scale'] = crop[::-1] if name == 'Resize' else crop


def all_steps(cfg: Config) -> Iterator:
    """Steps of the loaders' data sets, and of the pipelines that are variables of the config."""
    for split in SPLITS:
        for dataset in datasets_of(cfg, split):
            yield from steps(f'{split}_dataloader.dataset.pipeline', dataset.get('pipeline'))
    for name in PIPELINES:
        yield from steps(name, cfg.get(name))


def fill_model(cfg: Config, recipe: dict, segments: bool, count: int) -> None:
    """Classes, sizes and weights, of the model."""
    for _, head in heads(cfg):
        inner = head.get('kernel_generate_head', head)  # of K-Net
        inner['num_classes'] = count
        if 'class_weight' in recipe:
            weigh(inner, recipe['class_weight'], count)
    for preprocessor in (cfg.model.get('data_preprocessor'), cfg.get('data_preprocessor')):
        if isinstance(preprocessor, dict) and 'num_classes' in preprocessor:
            preprocessor['num_classes'] = count
        if isinstance(preprocessor, dict) and segments and 'crop' in recipe:
            preprocessor['size'] = sides(recipe['crop'], 'recipe.crop')
    if 'crop' in recipe:
        height, width = sides(recipe['crop'], 'recipe.crop')
        cfg.model.backbone['img_size'] = height if height == width else (height, width)


def shown(own: dict) -> dict:
    """What pictures show of images, as drawing takes it (:mod:`mmwhitebox.datasets.viewable`).

    Raises:
        ConfigError: Channels that the images do not have.
    """
    channels = own.get('channels', 3)
    if not isinstance(channels, int) or isinstance(channels, bool) or channels < 1:
        raise ConfigError(f'own_data.channels={channels!r} must be a number of channels, 1 or more.')
    display = own.get('display', (1, 2, 3) if channels >= 3 else (1, ))
    display = [display] if isinstance(display, int) else display
    if not isinstance(display, (list, tuple)) or len(display) not in (1, 3) or not all(
            isinstance(number, int) and 1 <= number <= channels for number in display):
        raise ConfigError(f'own_data.display={display!r} must be the numbers of three channels, or of one, from 1 to '
                          f'{channels}.')
    return dict(channels=channels, display=list(display), channel_axis=own.get('channel_axis'),
                value_range=own.get('value_range'))


def fill_channels(cfg: Config, own: dict) -> None:
    """Channels of the network, mean and std; without the steps that are for photographs.

    Raises:
        ConfigError: Not one mean and std for each channel.
    """
    channels, wide = own.get('channels', 3), 'value_range' in own
    for key in ('mean', 'std'):
        values = own.get(key)
        if values is None and channels == 3 and not {'mean', 'std'} & set(own):
            continue
        if not isinstance(values, (list, tuple)) or len(values) != channels:
            raise ConfigError(f'own_data.{key}={values!r} must be a list of {channels} numbers, one for each channel; '
                              'mmwhitebox new measures them.')
        for preprocessor in (cfg.model.get('data_preprocessor'), cfg.get('data_preprocessor')):
            if isinstance(preprocessor, dict):
                preprocessor[key] = list(values)
    if 'channels' in own:
        cfg.model.backbone['in_channels'] = channels
    if channels == 3 and not wide:
        return
    owners = [*((dataset, 'pipeline') for split in SPLITS for dataset in datasets_of(cfg, split)),
              *((cfg, name) for name in PIPELINES)]
    with TRANSFORMS.switch_scope_and_registry(cfg.get('default_scope') or 'mmseg'):
        for owner, key in owners:
            if owner.get(key):
                owner[key] = [step for step in owner[key] if not isinstance(step, dict)
                              or not unfit(make_part(key, step, TRANSFORMS), channels, wide)]


def window(recipe: dict) -> dict:
    """Test as a whole what is at most twice as long as the crop; else in windows that overlap by a quarter."""
    height, width = sides(recipe['crop'], 'recipe.crop')
    scale = sides(recipe.get('scale', (width, height)), 'recipe.scale')
    if max(scale) <= 2 * max(height, width):
        return dict(mode='whole')
    return dict(mode='slide', crop_size=(height, width), stride=(height * 3 // 4, width * 3 // 4), enlarge=True)


def weigh(head: dict, weights: Any, count: int) -> None:
    """Set the class weights of the losses of a head that have some."""
    if len(weights) != count:
        raise ConfigError(f'recipe.class_weight has {len(weights)} weights for {count} classes.')
    key = 'loss_decode' if 'loss_decode' in head else 'loss'
    losses = [loss for _, loss in listed(key, head.get(key)) if 'CrossEntropyLoss' in str(loss.get('type'))]
    if not losses:
        raise ConfigError(f'recipe.class_weight: {head.get("type")} has no CrossEntropyLoss that could take it; set '
                          f'the weights of its own {key}.')
    for loss in losses:
        loss['class_weight'] = list(weights)


def sides(value: Any, name: str) -> tuple[int, int]:
    """Two sides of a number or a pair."""
    pair = (value, value) if isinstance(value, int) else value
    if not isinstance(pair, (list, tuple)) or len(pair) != 2 or not all(isinstance(v, int) and v > 0 for v in pair):
        raise ConfigError(f'{name}={value!r} must be a number of pixels or a pair of them.')
    height, width = pair
    return height, width


def stretch_schedule(cfg: Config) -> None:
    """Stretch the schedulers so that the last of them ends with the training."""
    unit = 'max_epochs' if get(cfg, 'train_cfg.max_epochs') else 'max_iters'
    length = get(cfg, f'train_cfg.{unit}')
    schedulers = [item for _, item in listed('param_scheduler', cfg.get('param_scheduler'))
                  if item.get('by_epoch', True) is (unit == 'max_epochs')]
    last = max((item.get('end') or 0 for item in schedulers), default=0)
    if not isinstance(length, int) or not last or last == length:
        return
    for item in schedulers:
        begin, end = (round(item.get(key, 0) * length / last) for key in ('begin', 'end'))
        item.update(begin=begin, end=max(end, begin + 1))
