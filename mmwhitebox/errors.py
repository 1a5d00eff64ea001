"""Errors for people: their message says what was wrong and what to do."""
from collections.abc import Sequence
from typing import Any


def joined(items: Sequence[Any], most: int = 8) -> str:
    """The first few of a list, with commas, for a message."""
    return ', '.join(map(str, items[:most])) + (f', ... ({len(items)} in all)' if len(items) > most else '')


class UserError(Exception):
    """Something the caller can mend. The tools show it as one message, without a traceback."""


class NotApplicableError(UserError):
    """A command that makes no sense for this model or data set; nothing is wrong with either."""


class DatasetLayoutError(UserError, FileNotFoundError):
    """Files of a dataset are missing; the message shows the expected layout."""


class ImageReadError(UserError, OSError):
    """An image or annotation file that cannot be read; the message names it."""


class ImageSizeError(UserError, ValueError):
    """An image that is smaller than what the model needs."""


class AnnotationError(UserError, ValueError):
    """An annotation that does not fit its image or the classes; the message names the file."""


class ImageArrayError(UserError, ValueError):
    """An array of another shape or type than an image of the pipeline has; the message says which it takes."""


class UnknownModelError(UserError, KeyError):
    """Neither a config file nor the name of a model; the message lists similar names."""

    __str__ = Exception.__str__  # KeyError's puts the message in quotes


class CheckpointError(UserError, RuntimeError):
    """A checkpoint that cannot be read or does not fit the model; the message says why."""


class MissingCheckpointError(CheckpointError, FileNotFoundError):
    """A file of weights that is not there."""


class WriteError(UserError, OSError):
    """A file that cannot be written: disk full, quota, permission, or it reads back differently."""


class ConfigError(UserError, ValueError):
    """A config with unknown keys, types or values; the message names their paths."""


class WorkerDeathError(UserError, RuntimeError):
    """A data-loader worker died; the message names the sample it was at."""
