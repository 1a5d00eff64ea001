"""The configs of the package as bases of other configs, wherever it is installed.

Both ways of mmengine work in any process that has imported ``mmwhitebox.config``, as its commands have::

    _base_ = 'mmwhitebox::cbt_decoder_ade20k.py'

    with read_base():
        from mmwhitebox.configs.cbt_decoder_ade20k import *

mmengine has no place to register a package: it takes ``package::path`` from a list of its own, with a folder in the
path, and cannot read a base that uses ``_base_`` (as these configs do) into a config that uses ``read_base``. So the
two functions that find and read a base are extended here, for the folder of these configs alone. Their types keep no
scope: they are looked up in the ``default_scope`` of the config, as when it is read directly.
"""
import difflib
from pathlib import Path

from mmengine.config import Config

PREFIX = 'mmwhitebox::'


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


def find_base(cfg_path: str, filename: str) -> tuple[str, str | None]:
    """Where a base of the config ``filename`` lies, and the scope of its types.

    Raises:
        FileNotFoundError: ``mmwhitebox::`` is followed by no config; similar ones are listed.
    """
    if not cfg_path.startswith(PREFIX):
        return FIND_BASE(cfg_path, filename)
    folder, name = config_folder(), cfg_path.removeprefix(PREFIX)
    if not (folder / name).is_file():
        names = [path.relative_to(folder).as_posix() for path in folder.rglob('*.py')]
        similar = difflib.get_close_matches(name, names, n=3)
        raise FileNotFoundError(f'mmwhitebox has no config {name}'
                                + (f'; similar: {", ".join(similar)}' if similar else ''))
    return str(folder / name), None


def read_base_module(filename: str) -> tuple[dict, set]:
    """Variables of a base of ``read_base``, and the names that it imports."""
    if config_folder() not in Path(filename).resolve().parents:
        return READ_BASE_MODULE(filename)
    variables, _, _ = Config._file2dict(str(filename), lazy_import=False)
    return Config._dict_to_config_dict_lazy(variables), set()


FIND_BASE, READ_BASE_MODULE = Config._get_cfg_path, Config._parse_lazy_import
Config._get_cfg_path, Config._parse_lazy_import = staticmethod(find_base), staticmethod(read_base_module)
