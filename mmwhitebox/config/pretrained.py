"""The folder of a pretrained model: its files, and what its config.json says, as a config.

    model.safetensors           the weights
    config.json                 architecture, classes, preprocessing, where it comes from
    README.md                   the model card
    preprocessor_config.json    for AutoImageProcessor, if the preprocessing can be said so

Such a folder may come from a stranger: nothing else in it is looked at, and what config.json says is checked.
"""
import json
import re
from pathlib import Path
from typing import Any

from mmengine.config import Config
from safetensors import SafetensorError, safe_open

from mmwhitebox.errors import CheckpointError, MissingCheckpointError

WEIGHTS, CONFIG, PAGE, PREPROCESSOR = FILES = (
    'model.safetensors', 'config.json', 'README.md', 'preprocessor_config.json')
FORMAT, VERSION = 'mmwhitebox', 1
LARGEST_CONFIG = 1 << 24  # bytes
LONGEST_NAME = 200
COLOUR = range(256)
TASKS = ('segmentation', 'classification', 'features')


def is_pretrained(path: str | Path) -> bool:
    """Whether a path is a folder with the weights and the config of a pretrained model."""
    return all((Path(path) / name).is_file() for name in (WEIGHTS, CONFIG))


def is_of_format(path: str | Path) -> bool:
    """Whether the config in a folder says that it is of a model of ours, of whatever version."""
    try:
        return json.loads((Path(path) / CONFIG).read_text(encoding='utf-8'))['format'] == FORMAT
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return False


def file_in(folder: Path, name: str) -> Path:
    """A file of the folder, which lies in it; in the cache of the hub it may be a link to that cache's blobs.

    Raises:
        MissingCheckpointError: There is no such file.
        CheckpointError: It is a link out of the folder.
    """
    path, home = folder / name, folder.resolve()
    if not path.exists() and not path.is_symlink():
        others = sorted(other.name for other in folder.glob('*')
                        if re.fullmatch(r'\.(bin|pth?|ckpt|pkl|pickle)', other.suffix))
        instead = f' {others[0]} is not read: it can run code.' if others and name == WEIGHTS else ''
        raise MissingCheckpointError(f'{folder} has no {name}, so it is no folder of save_pretrained.{instead}')
    places = [home]
    if home.parent.name == 'snapshots':
        places.append(home.parent.parent / 'blobs')
    try:
        target = path.resolve()
    except (OSError, RuntimeError) as error:  # a link to itself
        raise CheckpointError(f'{path} was refused: it is a link to nothing.') from error
    if not any(target.is_relative_to(place) for place in places):
        raise CheckpointError(f'{path} was refused: it is a link out of its folder.')
    if not target.is_file():
        raise CheckpointError(f'{path} was refused: it is no file.')
    return path


def _no_number(text: str) -> Any:
    raise ValueError(f'it holds {text}')


def read_info(folder: str | Path) -> dict[str, Any]:
    """What ``config.json`` says, checked.

    Raises:
        CheckpointError: It is missing, broken, of another format or version, or says what is refused.
    """
    from .untrusted import check_architecture, check_pipeline, check_values

    path = file_in(Path(folder), CONFIG)
    try:
        if path.stat().st_size > LARGEST_CONFIG:
            raise ValueError(f'it has more than {LARGEST_CONFIG >> 20} MiB')
        info = json.loads(path.read_text(encoding='utf-8'), parse_constant=_no_number)
    except (OSError, ValueError, RecursionError) as error:
        reason = 'it is nested too deeply' if isinstance(error, RecursionError) else error
        raise CheckpointError(f'{path} cannot be read: {reason}.') from error
    if not isinstance(info, dict) or info.get('format') != FORMAT:
        raise CheckpointError(f'{path} is not the config of a model of {FORMAT}: its "format" does not say so.')
    if info.get('format_version') != VERSION:
        raise CheckpointError(f'{path} is of format version {info.get("format_version")!r}, this release reads '
                              f'{VERSION}: use the release that wrote it, or a newer one.')
    if 'custom_imports' in info or '_base_' in info:
        raise CheckpointError(f'{path} was refused: custom_imports and _base_ would run code.')
    if info.get('task') not in TASKS:
        raise CheckpointError(f'{path} was refused: its task is {info.get("task")!r}, none of {", ".join(TASKS)}.')
    scope = info.get('default_scope')
    if not isinstance(scope, str):
        raise CheckpointError(f'{path} was refused: default_scope is {scope!r}.')
    tuples = info.get('tuples', [])
    if not isinstance(tuples, list) or not all(isinstance(place, str) for place in tuples):
        raise CheckpointError(f'{path} was refused: "tuples" is no list of paths.')
    info['tuples'] = tuples
    check_architecture(info.get('model'), scope, path)
    if info.get('test_pipeline') is not None:
        check_pipeline(info['test_pipeline'], scope, path)
    if info.get('shown') is not None:
        check_values(info['shown'], 'shown', path)
    if info['task'] != 'features':
        if not isinstance(info['model'].get('data_preprocessor'), dict):
            raise CheckpointError(f'{path} was refused: its model has no data_preprocessor.')
        _check_classes(info, path)
    return info


def _check_classes(info: dict, path: Path) -> None:
    """Raise a CheckpointError unless there are names, and colours if any, for all classes of the head."""
    classes, palette, model = info.get('classes'), info.get('palette'), info['model']
    if not isinstance(classes, list) or not classes or not all(isinstance(name, str) for name in classes):
        raise CheckpointError(f'{path} has no list of classes, so nobody knows what its labels stand for: "classes" '
                              'must be a list of names.')
    unshown = [name for name in classes if not name.isprintable() or len(name) > LONGEST_NAME]
    if unshown:
        raise CheckpointError(f'{path} was refused: the class {unshown[0][:LONGEST_NAME]!r} is no name to be shown.')
    segments = info['task'] == 'segmentation'
    if segments != ('decode_head' in model) or not isinstance(model.get('backbone'), dict):
        raise CheckpointError(f'{path} was refused: its model is not one of {info["task"]}.')
    head = model['decode_head'] if segments else model.get('head')
    head = head[-1] if isinstance(head, list) and head else head
    count = head.get('num_classes') if isinstance(head, dict) else None
    if isinstance(count, int) and len(classes) != (max(count, 2) if head.get('out_channels') == 1 else count):
        raise CheckpointError(f'{path} names {len(classes)} classes, its model tells {count} apart.')
    if palette is not None and not (
            isinstance(palette, list) and len(palette) == len(classes) and
            all(isinstance(c, list) and len(c) == 3 and all(type(v) is int and v in COLOUR for v in c)
                for c in palette)):
        raise CheckpointError(f'{path} was refused: its palette is no list of {len(classes)} RGB colours.')
    if info.get('shown') is not None and not isinstance(info['shown'], dict):
        raise CheckpointError(f'{path} was refused: "shown" is no dict.')


def stored_shapes(path: Path) -> dict[str, list[int]]:
    """Shapes of the tensors of a safetensors file, by name, without reading them.

    Raises:
        CheckpointError: It is no such file.
    """
    try:
        with safe_open(path, 'pt') as file:
            return {key: file.get_slice(key).get_shape() for key in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, ValueError) as error:
        raise CheckpointError(f'{path} cannot be read as safetensors: {error}.') from error


def config_of(info: dict[str, Any], weights: Path) -> Config:
    """The config of a model from what :func:`read_info` gives: model, test pipeline, ``dataset_meta``.

    ``pretrained_weights`` says how large its weights are, since a model far larger is not built.
    """
    meta = {key: info[key] for key in ('classes', 'palette', 'shown') if info.get(key) is not None}
    parts = dict(default_scope=info['default_scope'], model=info['model'])
    if info.get('test_pipeline') is not None:
        parts['test_pipeline'] = info['test_pipeline']
    parts = with_tuples(parts, set(info['tuples']))
    parts['pretrained_weights'] = dict(bytes=weights.stat().st_size, tensors=len(stored_shapes(weights)),
                                       folder=str(weights.parent))
    return Config(dict(parts, dataset_meta=meta) if meta else parts)


def with_tuples(value: Any, tuples: set[str], path: str = '') -> Any:
    """Values of JSON with tuples at the paths that ``tuples`` of the config names."""
    below = f'{path}.' if path else ''
    if isinstance(value, dict):
        return {key: with_tuples(item, tuples, f'{below}{key}') for key, item in value.items()}
    if isinstance(value, list):
        items = [with_tuples(item, tuples, f'{below}{i}') for i, item in enumerate(value)]
        return tuple(items) if path in tuples else items
    return value


def pretrained_config(folder: str | Path) -> Config:
    """The config of a whole model in a folder; its checkpoint is ``FOLDER/model.safetensors``.

    Raises:
        CheckpointError: As :func:`read_info`, or the folder holds a part of a model only.
    """
    info = read_info(folder)
    if info['task'] == 'features':
        raise CheckpointError(f'{folder} holds a part of a model ({info.get("part")}), which gives no predictions.')
    return config_of(info, file_in(Path(folder), WEIGHTS))
