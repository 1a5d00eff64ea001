"""Models by name, for people who do not want a config: the names are the config files' names, without folder."""
import difflib
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mmengine.config import Config
from mmengine.fileio import load
from mmengine.logging import MMLogger
from mmengine.model import BaseModel
from mmengine.registry import MODELS

from mmwhitebox.config.bases import config_folder, current_path, renamed_configs
from mmwhitebox.errors import ConfigError, UnknownModelError

from .data import building
from .inputs import named

PARTS = ('backbone', 'decode_head', 'head')


def model_configs() -> dict[str, Path]:
    """Config files of all models, by name: those of the root and of a folder per family."""
    folder = config_folder()
    return {path.stem: path for pattern in ('*.py', '*/*.py') for path in sorted(folder.glob(pattern))
            if '_base_' not in path.parts}


def list_models(pattern: str = '*') -> list[str]:
    """Names of all models, e.g. ``list_models('cbt_decoder_*')``, or those of a folder, ``list_models('tost/*')``."""
    found = {name for name, path in model_configs().items() if path.match(f'{pattern}.py')}
    if not found:  # those that had such a name in a former release
        found = {Path(new).name for old, new in renamed_configs(config_folder()).items() if Path(old).match(pattern)}
    return sorted(found)


def published_figures() -> dict[str, dict[str, float]]:
    """What the papers say that models cost, by name, from the metafiles: millions of parameters (``params``, without
    the head ``headless``) and of pairwise ``similarities``, 10^9 ``flops``, of the decoder alone ``decoder_flops``."""
    entries = [entry for path in sorted(config_folder().glob('*/metafile.yml')) for entry in load(path)['Models']]
    return {entry['Name']: entry['Metadata']['Published'] for entry in entries if 'Published' in entry['Metadata']}


def config_path(name: str) -> str:
    """Config file of a model name; the folder may stand before it.

    Raises:
        UnknownModelError: Unknown name; similar ones are listed.
    """
    if not isinstance(name, (str, Path)):
        raise UnknownModelError(f'{named(name)} is no name of a model: mmwhitebox.apis.list_models() lists them.')
    name, models = str(name), model_configs()
    path = Path(models.get(name) or current_path(config_folder() / f'{name}.py'))
    if not path.is_file() or '_base_' in path.parts:
        names = sorted(models)
        similar = difflib.get_close_matches(name, names, n=8, cutoff=0.3)
        raise UnknownModelError(f'Unknown model {name!r}. Similar names: {", ".join(similar or names[:8])}. '
                                'All: mmwhitebox.apis.list_models().')
    return str(path)


def config_file(config: str | Path) -> str:
    """A config file as it is, or that of a model's name.

    Raises:
        UnknownModelError: Neither.
        ConfigError: The file does not exist.
    """
    if not isinstance(config, (str, Path)) or not str(config).endswith(('.py', '.json', '.yaml', '.yml')):
        return config_path(config)
    path = current_path(config)
    if not Path(path).is_file():
        raise ConfigError(f'There is no config file {config}.')
    return path


def build_model(name: str, pretrained: bool = False, **overrides) -> BaseModel:
    """Build a model by the name of its config.

    Args:
        name (str): One of :func:`list_models`, e.g. 'cbt_decoder_ade20k' or
            'cbt_small_finetune_pets'.
        pretrained (bool): Fetch and load the encoder's pretrained weights. Defaults to False.
        **overrides: Arguments of the backbone or the head that carry that name in the config, e.g.
            ``num_classes=19``, ``img_size=640``, ``num_layers=6``; ``backbone__key``,
            ``decode_head__key`` and ``head__key`` set any other.

    Returns:
        BaseModel: The model, initialised, in training mode, with its config as ``cfg``.

    Raises:
        UnknownModelError: Unknown model.
        KeyError: An override that no part of it knows.
    """
    cfg = Config.fromfile(config_path(name))
    parts = {part: cfg.model[part] for part in PARTS if part in cfg.model}
    for key, value in overrides.items():
        part, _, inner = key.partition('__')
        if inner and part in parts:
            parts[part][inner] = value
            continue
        owners = [part for part in parts.values() if key in part]
        if not owners:
            known = sorted({k for part in parts.values() for k in part if k != 'type'})
            raise KeyError(f'{name} has no argument {key!r} to override. Its arguments: {", ".join(known)}; '
                           f'others are set as {"__key or ".join(parts)}__key.')
        for owner in owners:
            owner[key] = value
    if 'pretrained' in cfg.model.backbone:
        cfg.model.backbone.pretrained = pretrained
    with building(cfg), silent():
        model = MODELS.build(cfg.model)
        model.init_weights()
    model.cfg = cfg
    return model


@contextmanager
def silent() -> Iterator[None]:
    """A context in which mmengine does not log how every parameter is initialised."""
    logger = MMLogger.get_current_instance()
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        logger.setLevel(level)
