"""Reading a config: what is wrong in it is told in one line, with the file and the line where it stands."""
import ast
import difflib
import os
import traceback
from pathlib import Path
from types import TracebackType

from mmengine.config import Config
from mmengine.utils import import_modules_from_strings

from mmwhitebox.errors import ConfigError, UserError

from .bases import current_path
from .check import check_config
from .names import SUFFIXES, by_name, config_path, is_name
from .own_data import fill_own_data
from .pretrained import is_pretrained, pretrained_config

READERS = {Config._file2dict.__code__, Config._parse_lazy_import.__code__, Config._is_lazy_import.__code__}
IMPORTER = import_modules_from_strings.__code__


def read_config(path: str) -> Config:
    """Read a config with everything that it inherits, and import what it asks for.

    Args:
        path (str): Config file.

    Raises:
        ConfigError: It or one of its bases does not exist, is no Python, raises an error, or names a module in
            ``custom_imports`` that cannot be imported.
    """
    if Path(path).is_dir():
        raise ConfigError(f'{path} is a folder; name a config file in it.')
    path = current_path(path)
    if not Path(path).is_file():
        raise ConfigError(f'There is no config file {path}.{by_name(path) or _similar(Path(path))}')
    try:
        return Config.fromfile(path)
    except UserError:
        raise
    except Exception as error:
        frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
        files = [Path(frame.f_locals['filename']) for frame in frames if frame.f_code in READERS
                 and 'filename' in frame.f_locals] or [Path(path)]
        importing = next((frame for frame in frames if frame.f_code is IMPORTER), None)
        cause = error.__cause__ if importing is None else error
        if importing is None and cause is not None:
            importing = next((f for f, _ in traceback.walk_tb(cause.__traceback__) if f.f_code is IMPORTER), None)
        if importing is not None:
            raise ConfigError(_import_problem(Path(path), importing.f_locals.get('imp'), cause)) from error
        raise ConfigError(_reading_problem(files, error)) from error


def _reading_problem(files: list[Path], error: Exception) -> str:
    """What is wrong with the last of the files, each of which is a base of the one before."""
    file, by = files[-1], next((other for other in reversed(files) if other != files[-1]), None)
    if not file.is_file() and by is not None:
        return f'{_place(by, "_base_", file.name)}: the base {file} does not exist.{_similar(file)}'
    try:
        text = file.read_text(encoding='utf-8')
        if file.suffix == '.py':
            ast.parse(text)
    except SyntaxError as syntax:
        line = (syntax.text or '').strip()
        return f'{file}, line {syntax.lineno}: this is no Python: {syntax.msg}' + (f' in {line!r}.' if line else '.')
    except (OSError, ValueError) as unreadable:
        return f'{file} cannot be read as a config: {unreadable}.'
    lines = [number for name, number in _lines(error.__traceback__) if os.path.abspath(name) == os.path.abspath(file)]
    what = str(error.args[0] if isinstance(error, KeyError) and error.args else error)
    where = f'{file}, line {lines[-1]}' if lines else _place(file, 'read_base', '_base_', f'_base_.{what}')
    what = next(iter(what.strip().splitlines()), '')
    if isinstance(error, FileNotFoundError) and not lines:
        return f'{where}: {what}.'
    return f'{where}: {type(error).__name__}: {what}'


def _import_problem(file: Path, module: str | None, cause: BaseException | None) -> str:
    """Why a module of ``custom_imports`` cannot be imported."""
    inner = cause.__context__ if isinstance(cause, ImportError) and cause.__context__ is not None else cause
    missing = isinstance(inner, ModuleNotFoundError) and str(module).startswith(str(inner.name))
    remedy = ('Correct the name, install it, or name the folder that holds it: PYTHONPATH=FOLDER' if missing else
              f'{type(inner).__name__}: {inner}')
    if inner is not None and not missing and not isinstance(inner, SyntaxError):  # which names its place
        last = [(name, line) for name, line in _lines(inner.__traceback__) if 'importlib' not in name][-1:]
        remedy += ''.join(f' [{name}:{line}]' for name, line in last)
    what = 'there is no such module.' if missing else 'it cannot be imported.'
    return f'{_place(file, "custom_imports")}: custom_imports names {module!r}: {what} {remedy}'


def _lines(trace: TracebackType | None) -> list[tuple[str, int]]:
    return [(frame.f_code.co_filename, line) for frame, line in traceback.walk_tb(trace)]


def _place(file: Path, *words: str) -> str:
    """A file with the line that has the last of the words that it has, if any."""
    lines = file.read_text(encoding='utf-8', errors='replace').splitlines()
    for word in reversed(words):
        for number, line in enumerate(lines, 1):
            if word in line and not line.lstrip().startswith('#'):
                return f'{file}, line {number}'
    return str(file)


def _similar(file: Path) -> str:
    """The file of a like name beside a missing one."""
    names = [other.name for other in file.parent.glob(f'*{file.suffix}')] if file.parent.is_dir() else []
    near = difflib.get_close_matches(file.name, names, n=1)
    return f' Did you mean {file.parent / near[0]}?' if near else ''


def load_model_config(path: str, options: dict | None = None) -> Config:
    """A config for what uses a trained model: :func:`load_config`, and the check of all but the training.

    Raises:
        ConfigError: It cannot be read, or has unknown keys, types or values.
    """
    cfg = load_config(path, options)
    check_config(cfg, training=False)
    return cfg


def load_config(path: str, options: dict | None = None, work_dir: str | None = None, launcher: str = 'none') -> Config:
    """Read a config, apply overrides, fill in one's own data, decide the work dir (argument, config, file name).

    Args:
        path (str): Config file, the name of an installed one (:func:`.names.list_models`), or the folder of a
            pretrained model.
        options (dict, optional): Overrides, key with dots -> value.
        work_dir (str, optional): Folder for what a run writes.
        launcher (str): 'none', 'pytorch', 'slurm' or 'mpi'. Defaults to 'none'.

    Raises:
        UnknownModelError: There is neither a file nor a config of that name.
        ConfigError: It cannot be read (see :func:`read_config`), or an override does not fit it.
    """
    typed = path
    if not path.endswith(SUFFIXES) and not Path(path).is_file() and (is_name(path) or not Path(path).is_dir()):
        path = config_path(path)
    cfg = pretrained_config(path) if is_pretrained(path) else read_config(path)
    for key, value in (options or {}).items():
        try:
            cfg.merge_from_dict({key: value})
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise ConfigError(f'--cfg-options {key}={value}: {str(error.args[0]).splitlines()[0]}') from error
    fill_own_data(cfg)
    cfg.launcher = launcher
    cfg.work_dir = work_dir or cfg.get('work_dir') or str(Path('work_dirs') / Path(typed).stem)
    return cfg
