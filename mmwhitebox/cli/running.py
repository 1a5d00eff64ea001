"""How a command runs: an error for people is one message, log messages go to standard error."""
import logging
import os
import select
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TextIO

from mmengine.logging import MMLogger

from mmwhitebox.errors import UserError
from mmwhitebox.former_names import FormerName

STOPPED, UNREAD = 130, 141  # of SIGINT and SIGPIPE, as shells count
OTHERS_WAIT = 5  # seconds
REFUSED_NOTE = 'MMWHITEBOX_REFUSED_NOTE'  # environment: a file that tells tools/dist_launch.py that the reason is said


def exit_message(error: UserError) -> str:
    """What a tool ends with; of an error in a data-loader worker, its message without the traceback."""
    text = str(error)
    if text.startswith('Caught '):
        text = text.strip().splitlines()[-1].partition(': ')[2]
    return f'error: {text}'


class StandardStream(logging.StreamHandler):
    """A handler like another one, that writes to the standard stream of a name as it is at that moment."""

    def __init__(self, like: logging.Handler, name: str) -> None:
        logging.Handler.__init__(self, like.level)
        self.setFormatter(like.formatter)
        self.filters = like.filters
        self.stream_name = name

    @property
    def stream(self) -> TextIO:
        """What ``sys`` has under the name."""
        return getattr(sys, self.stream_name)


def one_line(message: Warning, category: type[Warning], filename: str, lineno: int, line: str | None = None) -> str:
    """How a command shows a warning: ours are for people, others keep their place."""
    place = '' if issubclass(category, FormerName) else f' [{filename}:{lineno}]'
    return f'warning: {message}{place}\n'


def reader_has_gone() -> bool:
    """Whether nobody reads standard output any more, as after ``| head``; then it is exchanged for nothing."""
    output = select.poll()
    output.register(sys.stdout.fileno(), 0)
    if not output.poll(0):
        return False
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or the interpreter fails at its end
    return True


def run_command(main: Callable[[], int | None], log_to: str = 'stderr') -> None:
    """Run a command and end the process with its status, if it has one; an error for people is one message.

    On several processes the first one says it. The others wait, since the launcher ends them when the first has ended;
    what only they know is said a little later.

    Args:
        main (Callable): Returns the status or None.
        log_to (str): Where log messages go, other than those of a Runner: 'stdout', or by default 'stderr', since
            standard output is for what a command was asked for.
    """
    logger = MMLogger.get_instance('mmwhitebox')
    logger.handlers[:1] = [StandardStream(logger.handlers[0], log_to)]
    warnings.formatwarning = one_line
    warnings.filterwarnings('ignore', 'The draw is False')  # mmseg, of a hook that is there to be turned on
    try:
        status = main()
        sys.stdout.flush()
    except KeyboardInterrupt:
        sys.exit(STOPPED)
    except BrokenPipeError:
        if not reader_has_gone():
            raise
        sys.exit(UNREAD)
    except UserError as error:
        rank, local_rank = (int(os.environ.get(name, 0)) for name in ('RANK', 'LOCAL_RANK'))
        if rank:
            time.sleep(OTHERS_WAIT * (2 if local_rank else 1))
        note = os.environ.get(REFUSED_NOTE)
        if note:
            Path(note).touch()
        sys.exit(exit_message(error) if rank == 0 else f'process {rank}: {exit_message(error)}')
    if status is not None:
        sys.exit(status)
