"""The configs of the package as bases of other configs, wherever it is installed.

Both ways of mmengine work in any process that has imported ``mmwhitebox.config``, as its commands have::

    _base_ = 'mmwhitebox::cbt_decoder_ade20k.py'

    with read_base():
        from mmwhitebox.configs.cbt_decoder_ade20k import *

mmengine has no place to register a package: it takes ``package::path`` from a list of its own, with a folder in the
path, and cannot read a base that uses ``_base_`` (as these configs do) into a config that uses ``read_base``. So the
two functions that find and read a base are extended here, for the folder of these configs alone. Their types keep no
scope: they are looked up in the ``default_scope`` of the config, as when it is read directly. Configs that have had
another name until this release are found under it, with a warning: ``configs/renamed.yml``.
"""
import ast
import difflib
import functools
import os
from pathlib import Path

from mmengine.config import Config
from mmengine.fileio import load

from mmwhitebox.former_names import warn_former

PREFIX = 'mmwhitebox::'
MODULE = 'mmwhitebox.configs.'


def config_folder() -> Path:
    """Folder of the configs: installed inside the package, or of the checkout (where a link stands in the package).

    Raises:
        FileNotFoundError: It is in neither place.
    """
    package = Path(__file__).parents[1]
    for folder in (package / 'configs', package.parent / 'configs'):
        if (folder / '_base_').is_dir():
            return folder.resolve()
    raise FileNotFoundError(f'No configs beside {package}: reinstall mmwhitebox.')


def current_path(path: str | Path) -> str:
    """A config file as it is named; where it lies now, if it is named as in a former release."""
    if not os.path.isfile(path):
        file = Path(os.path.abspath(path))
        for folder in file.parents:
            if (folder / 'renamed.yml').is_file():
                name = file.relative_to(folder).with_suffix('').as_posix()
                new = renamed_configs(folder).get(name)
                if new is None:
                    break
                warn_former(f'The config {name} is {new} now.')
                return str(folder / f'{new}.py')
    return str(path)


@functools.cache
def renamed_configs(folder: Path) -> dict[str, str]:
    """Former names of the configs in a folder, with the present ones."""
    return load(folder / 'renamed.yml')


def find_base(cfg_path: str, filename: str) -> tuple[str, str | None]:
    """Where a base of the config ``filename`` lies, and the scope of its types.

    Raises:
        FileNotFoundError: ``mmwhitebox::`` is followed by no config; similar ones are listed.
    """
    if not cfg_path.startswith(PREFIX):
        path, scope = FIND_BASE(cfg_path, filename)
        return current_path(path), scope
    folder, name = config_folder(), cfg_path.removeprefix(PREFIX)
    path = current_path(folder / name)
    if not os.path.isfile(path):
        names = [path.relative_to(folder).as_posix() for path in folder.rglob('*.py')]
        similar = difflib.get_close_matches(name, names, n=3)
        raise FileNotFoundError(f'mmwhitebox has no config {name}'
                                + (f'; similar: {", ".join(similar)}' if similar else ''))
    return path, None


def find_base_modules(nodes: list[ast.stmt]) -> list[str]:
    """Modules that ``read_base`` imports; in the nodes, former names of our configs are replaced."""
    for node in ast.walk(ast.Module(nodes, [])):
        if isinstance(node, ast.ImportFrom) and (node.module or '').startswith(MODULE):
            folder, name = config_folder(), node.module.removeprefix(MODULE).replace('.', '/')
            path = Path(current_path(folder / f'{name}.py'))
            node.module = MODULE + path.relative_to(folder).with_suffix('').as_posix().replace('/', '.')
    return FIND_BASE_MODULES(nodes)


def read_base_module(filename: str) -> tuple[dict, set]:
    """Variables of a base of ``read_base``, and the names that it imports."""
    if config_folder() not in Path(filename).resolve().parents:
        return READ_BASE_MODULE(filename)
    variables, _, _ = Config._file2dict(str(filename), lazy_import=False)
    return Config._dict_to_config_dict_lazy(variables), set()


FIND_BASE, FIND_BASE_MODULES, READ_BASE_MODULE = (
    Config._get_cfg_path, Config._get_base_modules, Config._parse_lazy_import)
Config._get_cfg_path, Config._get_base_modules, Config._parse_lazy_import = (
    staticmethod(find_base), staticmethod(find_base_modules), staticmethod(read_base_module))
