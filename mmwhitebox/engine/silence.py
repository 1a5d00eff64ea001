"""A run that says less."""
import logging
from collections.abc import Iterator
from contextlib import contextmanager

from mmengine.logging import MMLogger


@contextmanager
def silent() -> Iterator[None]:
    """A context in which the current logger keeps to warnings: no tables of metrics, no initialised parameters."""
    logger = MMLogger.get_current_instance()
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        logger.setLevel(level)
