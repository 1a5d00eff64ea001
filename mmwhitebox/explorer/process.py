"""The process in which the models live, beside the server's.

A model that takes all memory or crashes takes that process along, not the page; it is started again then.
"""
import asyncio
import logging
import multiprocessing
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.process import BaseProcess
from typing import Any, NamedTuple

from mmwhitebox.errors import ImageReadError, ImageSizeError, UserError

LOG = logging.getLogger(__name__)
KILLED = 'The process of the models has ended, perhaps for want of memory; it is being started again.'
REFUSED = {ImageSizeError: 413, ImageReadError: 415, UserError: 422}  # statuses of HTTP
_work: Any = None  # what the factory gave, in the process


class JobError(Exception):
    """A job without a result: a status of HTTP and a sentence."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(status, sentence)
        self.status, self.sentence = status, sentence


class Ended(JobError):
    """The process has ended in the middle of a job, or before it."""


class Done(NamedTuple):
    """What comes back from the process: a status of HTTP, and the result or a sentence."""
    status: int
    result: Any


class ModelProcess:
    """A process that does one job after another, and is started again when it has ended.

    Args:
        factory (Callable): Called with ``args`` in that process, by its name. The methods of what it gives are the
            jobs.
        args (tuple): Arguments of the factory. Defaults to none.

    Attributes:
        process (BaseProcess | None): The present one.
        stopped (bool): Whether it is over.
    """

    def __init__(self, factory: Callable, args: tuple = ()) -> None:
        self.factory, self.args = factory, args
        self.executor: ProcessPoolExecutor | None = None
        self.process: BaseProcess | None = None
        self.stopped = False

    def start(self) -> None:
        """Start it, without waiting for it."""
        self.executor = ProcessPoolExecutor(1, multiprocessing.get_context('spawn'), _begin, (self.factory, self.args))
        before = set(multiprocessing.active_children())
        masked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # of a terminal, Ctrl-C goes to all
        try:
            self.executor.submit(os.getpid)  # it is started for its first job
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, masked)
        self.process = next(iter(set(multiprocessing.active_children()) - before), None)

    def stop(self) -> None:
        """End it at once; a job in it gets an error."""
        self.stopped = True
        self._end()

    def _end(self) -> None:
        if self.process is not None:
            self.process.kill()
        if self.executor is not None:
            self.executor.shutdown(wait=self.process is not None, cancel_futures=True)  # it is dead by then

    async def call(self, name: str, *args: Any) -> Any:
        """Do a job.

        Args:
            name (str): The method.
            *args: Its arguments.

        Raises:
            JobError: It has failed.
            Ended: The process has ended; unless it is over, it is being started again.
        """
        try:
            done = await asyncio.wrap_future(self.executor.submit(_do, name, args))
        except (BrokenProcessPool, RuntimeError, asyncio.CancelledError) as error:  # of one that was shut down, too
            if asyncio.current_task().cancelling():  # this task, and not what it waits for
                raise
            if self.stopped:
                raise Ended(503, 'The explorer is ending.') from error
            LOG.warning(KILLED)
            self._end()
            self.start()
            raise Ended(503, KILLED) from error
        if done.status != 200:
            raise JobError(done.status, done.result)
        return done.result


def _begin(factory: Callable, args: tuple) -> None:
    """The beginning of the process of the models."""
    global _work
    parent = multiprocessing.parent_process()
    threading.Thread(target=lambda: (parent.join(), os._exit(1)), daemon=True).start()
    os.dup2(2, 1)  # standard output is the command's
    try:
        _work = factory(*args)
    except BaseException:
        traceback.print_exc(file=sys.stderr)
        raise


def _do(name: str, args: tuple) -> Done:
    """Run a job, in the process of the models; no exception leaves it."""
    try:
        return Done(200, getattr(_work, name)(*args))
    except UserError as error:
        return Done(status_of(error), ' '.join(str(error).split()))
    except Exception as error:
        if is_out_of_memory(error):
            return Done(507, 'The memory does not suffice for this model and this image; try a smaller image.')
        traceback.print_exc(file=sys.stderr)
        return Done(500, f'The computation failed ({type(error).__name__}); the log of the command says more.')


def status_of(error: UserError) -> int:
    """The status of HTTP that says what is refused."""
    return next(status for kind, status in REFUSED.items() if isinstance(error, kind))


def is_out_of_memory(error: Exception) -> bool:
    """Whether an error says that memory did not suffice, of the GPU or of the computer."""
    return isinstance(error, MemoryError) or isinstance(error, RuntimeError) and any(
        text in str(error) for text in ("can't allocate memory", 'not enough memory', 'out of memory'))
