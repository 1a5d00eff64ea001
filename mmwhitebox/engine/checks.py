"""What is made sure of before a training: the config, its data, the checkpoints that it reads.

:func:`mmwhitebox.engine.training.train` does it before anything is built. A training that is started by
``Runner.from_cfg(cfg).train()`` has it from :class:`TrainingChecksHook`, as soon as mmengine asks a hook.
"""
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from mmengine.config import Config

from mmwhitebox.checkpoints import use_safe_loading
from mmwhitebox.config.consistency import check_consistency, raise_together
from mmwhitebox.datasets import check_datasets, look_at_masks

_checked: ContextVar[bool] = ContextVar('checked', default=False)


@contextmanager
def checked() -> Iterator[None]:
    """Around a training for which all of this is done: its hook need not do it again."""
    token = _checked.set(True)
    try:
        yield
    finally:
        _checked.reset(token)


def is_checked() -> bool:
    """Whether the caller is :func:`checked`."""
    return _checked.get()


def load_safely(trust_checkpoint: bool = False) -> None:
    """Let this process read checkpoints with weights only, unless they are trusted.

    Args:
        trust_checkpoint (bool): Read checkpoints that need more than weights. Defaults to False.
    """
    if not trust_checkpoint:
        use_safe_loading()


def check_whole(cfg: Config) -> None:
    """Compare the parts of a training config with each other and with the data.

    Raises:
        UserError: They contradict each other, files are missing, masks hold a single class.
    """
    raise_together(lambda: check_consistency(cfg), lambda: check_datasets(cfg, splits=('train', 'val')),
                   lambda: look_at_masks(cfg))
