"""Configs by name: the names are the config files' names, without folder."""
import difflib
from pathlib import Path

from mmengine.fileio import load

from mmwhitebox.errors import ConfigError, UnknownModelError

from .bases import config_folder, current_path, renamed_configs

SUFFIXES = ('.py', '.json', '.yaml', '.yml')


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
    return sorted(found & set(model_configs()))


def published_figures() -> dict[str, dict[str, float]]:
    """What the papers say that models cost, by name, from the metafiles: millions of parameters (``params``, without
    the head ``headless``) and of pairwise ``similarities``, 10^9 ``flops``, of the decoder alone ``decoder_flops``."""
    entries = [entry for path in sorted(config_folder().glob('*/metafile.yml')) for entry in load(path)['Models']]
    return {entry['Name']: entry['Metadata']['Published'] for entry in entries if 'Published' in entry['Metadata']}


def paper_metrics() -> dict[str, str]:
    """What the papers report of models, in words by name, from the metafiles: 'Top 1 Accuracy 71.4'."""
    entries = [entry for path in sorted(config_folder().glob('*/metafile.yml')) for entry in load(path)['Models']]
    found = {entry['Name']: {metric: value for result in entry.get('Results', [])
                             for metric, value in result['Metrics'].items()
                             if result['Metrics'].get('Source') == 'paper' and metric != 'Source'}
             for entry in entries}
    return {name: ', '.join(f'{metric} {value}' for metric, value in metrics.items())
            for name, metrics in found.items() if metrics}


def is_name(name: str) -> bool:
    """Whether a config has this name, or had it in a former release."""
    return name in model_configs() or name in renamed_configs(config_folder())


def by_name(path: str | Path) -> str:
    """A hint for a file that is not there, if an installed config has its name: that it needs no path."""
    stem = Path(path).stem
    return f' There is one installed, by its name: {Path(config_path(stem)).stem}.' if is_name(stem) else ''


def config_path(name: str) -> str:
    """Config file of a model name; the folder may stand before it.

    Raises:
        UnknownModelError: Unknown name; similar ones are listed.
    """
    if not isinstance(name, (str, Path)):
        raise UnknownModelError(f'{type(name).__name__} is no name of a model: '
                                'mmwhitebox.apis.list_models() lists them.')
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
    if not isinstance(config, (str, Path)) or not str(config).endswith(SUFFIXES):
        return config_path(config)
    path = current_path(config)
    if not Path(path).is_file():
        raise ConfigError(f'There is no config file {config}.{by_name(config)}')
    return path
