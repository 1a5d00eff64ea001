"""Names that were changed and are still taken, for one release."""
import logging
import warnings

from mmengine.logging import print_log

_said = set()


def warn_renamed(old: str, new: str) -> None:
    """A DeprecationWarning for code, and once in the log for those who write configs, where Python hides it."""
    line = f'{old} is now {new}; the old name works for one more release.'
    warnings.warn(line, DeprecationWarning, stacklevel=3)
    if old not in _said:
        _said.add(old)
        print_log(line, 'current', logging.WARNING)
