"""Errors of constructors, told in terms of the config: which part could not be built, and why."""
import contextlib
import inspect
import traceback
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

from mmengine.config import Config
from mmengine.registry import build_from_cfg, build_scheduler_from_cfg
from mmengine.runner import Runner

from mmwhitebox.config_parts import walk
from mmwhitebox.errors import ConfigError, UserError
from mmwhitebox.registry import build_component

BUILDERS = {function.__code__ for function in (build_from_cfg, build_scheduler_from_cfg, build_component)}
WRONG_VALUE = (TypeError, ValueError, KeyError, AttributeError, AssertionError, IndexError, ZeroDivisionError,
               OverflowError, RuntimeError)
RUNNER_KEYS = set(inspect.signature(Runner).parameters) - {'data_preprocessor'}  # of a model in our configs


@contextlib.contextmanager
def named_build_errors(cfg: Config) -> Iterator[None]:
    """Turn an error raised while a part of the config is built into one that names the part's path.

    Errors raised after the parts are built, in training say, pass as they are.

    Args:
        cfg (Config): Full config, to find the part in.

    Raises:
        ConfigError: A constructor refused its arguments.
    """
    try:
        yield
    except UserError:
        raise
    except WRONG_VALUE as error:
        parts = parts_being_built(error.__traceback__)
        if not parts:
            raise
        names = ' > '.join(type_name(part) for part in parts)
        path = next((path for path in (find_path(cfg, part) for part in reversed(parts)) if path), None)
        where = f'{path} ({names})' if path else names
        last = traceback.extract_tb(error.__traceback__)[-1]
        text = str(error.args[0]) if isinstance(error, KeyError) and error.args else str(error)
        raise ConfigError(f'{where} cannot be built with these values: {type(error).__name__}: '
                          f'{text.strip() or last.line} [{Path(last.filename).name}:{last.lineno}]') from error


def parts_being_built(trace: TracebackType | None) -> list[dict]:
    """Configs of the parts whose building a traceback passes through, the outermost first."""
    parts = [frame.f_locals.get('cfg') for frame, _ in traceback.walk_tb(trace) if frame.f_code in BUILDERS]
    return [part for i, part in enumerate(parts) if isinstance(part, dict) and (i == 0 or part is not parts[i - 1])]


def type_name(part: dict) -> str:
    """Name of what a part configures."""
    name = part.get('type', '?')
    return name if isinstance(name, str) else getattr(name, '__name__', str(name))


def find_path(cfg: Config, part: dict) -> str | None:
    """Where a part with a type stands in a config: the dict that equals it, or else the one of its type most like
    it; the config's own variables come last."""
    same_type = [(path, node) for path, node in walk(cfg) if 'type' in part and node.get('type') == part['type']]
    alike = [(sum(key in node and equal(node[key], value) for key, value in part.items()),
              path.partition('.')[0] in RUNNER_KEYS, path) for path, node in same_type]
    return max(alike, key=lambda item: item[:2])[2] if alike else None


def equal(first: Any, second: Any) -> bool:
    """Whether two values of a config are equal; False for those without one answer."""
    try:
        return bool(first == second)
    except Exception:  # of arrays
        return False
