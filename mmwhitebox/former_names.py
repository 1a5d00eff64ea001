"""Names of the last release that are still taken, with a warning."""
import functools
import warnings


class FormerName(FutureWarning):
    """A name that is taken for one more release; the message says the present one."""


@functools.cache
def warn_former(message: str) -> None:
    """Say it once in a process."""
    warnings.warn(f'{message} The old name works for one more release.', FormerName, stacklevel=3)
