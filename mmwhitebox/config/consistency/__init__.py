"""What the parts of a config say about the same thing, compared before anything is trained.

A config is correct part by part (:mod:`mmwhitebox.config.check`) and still wrong as a whole: a head of 150
classes on data of 5, a padding that no loss ignores, a best checkpoint by a score that no metric gives. Only what
cannot work, or gives a wrong number, is refused; of a class that is neither ours nor of the stack nothing is assumed.
"""
from mmwhitebox import stack  # noqa: F401  # isort: skip
from collections.abc import Callable

from mmengine.config import Config
from mmengine.registry import MODELS

from mmwhitebox.errors import ConfigError, UserError

from .channels import channel_problems
from .classes import class_problems
from .ignored import ignored_label_problems
from .schedule import loader_problems, loop_problems
from .scores import score_problems
from .views import view_problems
from .windows import window_problems

__all__ = ['check_consistency', 'raise_together']

TRAINING = ('train', 'val')


def check_consistency(cfg: Config, splits: tuple[str, ...] = TRAINING) -> None:
    """Compare class counts, channels, ignored labels, windows, views, loops, loaders and the names of scores.

    Args:
        cfg (Config): Full config, checked part by part.
        splits (tuple[str]): Splits that will be used; 'train' adds what concerns training alone. Defaults to train and
            val.

    Raises:
        ConfigError: Parts contradict each other. Every problem is a line: both places, by their paths in the config,
            and what to do.
    """
    with MODELS.switch_scope_and_registry(cfg.get('default_scope') or 'mmseg'):
        problems = [*loop_problems(cfg, splits), *loader_problems(cfg, splits), *class_problems(cfg, splits),
                    *channel_problems(cfg, splits),
                    *ignored_label_problems(cfg, splits), *window_problems(cfg), *score_problems(cfg, splits),
                    *view_problems(cfg, splits)]
    if problems:
        name = f'The config {cfg.filename}' if getattr(cfg, 'filename', None) else 'The config'
        raise ConfigError('\n  '.join([f'{name} contradicts itself:', *dict.fromkeys(problems)]))


def raise_together(*checks: Callable[[], None]) -> None:
    """Run all checks and raise what they found as one error.

    Args:
        *checks (Callable): Functions without arguments.

    Raises:
        UserError: The error itself if there is one, else a ConfigError with the messages of all.
    """
    errors = []
    for check in checks:
        try:
            check()
        except UserError as error:
            errors.append(error)
    if len(errors) == 1:
        raise errors[0]
    if errors:
        raise ConfigError('\n'.join(str(error) for error in errors))
