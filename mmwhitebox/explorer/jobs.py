"""The queue of what is asked of the models, and the process that works it off.

The models live in one process beside the server's: a model that takes all memory or crashes takes that process along,
not the page. It is started again then. One job runs at a time; the others wait here, where they can still be dropped.
"""
import asyncio
import contextlib
import logging
import multiprocessing
import os
import signal
import sys
import threading
import traceback
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Any, NamedTuple

from mmwhitebox.errors import UserError

LOG = logging.getLogger(__name__)
MAX_WAITING = 16
MAX_KEPT_BYTES = 256 * 2**20
KILLED = 'The process of the models has ended, perhaps for want of memory; it is being started again.'
_work: Any = None  # of the process of the models


class JobError(Exception):
    """A job without a result: a status of HTTP and a sentence."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(status, sentence)
        self.status, self.sentence = status, sentence


class Ended(JobError):
    """The process of the models has ended in the middle."""


class Done(NamedTuple):
    """What comes back from the process: a status of HTTP, and the result or a sentence."""
    status: int
    result: Any


class Jobs:
    """Models in a process of their own.

    Args:
        names (Sequence[str]): What each model is called until it is loaded.
        factory (Callable): Called with ``args`` in that process, by its name. What it gives has ``load(number,
            listed)``, ``explore(asked)`` and ``page(runs)``, see :class:`.models.Models`.
        args (tuple): Arguments of the factory. Defaults to none.

    Attributes:
        states (list[dict]): Of every model: ``ready`` (True, 'loading' or 'failed'), ``message``, and what ``load``
            gave as ``facts``.
    """

    def __init__(self, names: Sequence[str], factory: Callable, args: tuple = ()) -> None:
        self.factory, self.args = factory, args
        self.states: list[dict] = [dict(name=name, task=None, classes=[], palette=None, facts={}, ready='loading',
                                        message='') for name in names]
        self.kept: OrderedDict[tuple, bytes] = OrderedDict()
        self.waiting = 0
        self.turn = asyncio.Lock()
        self.pictures: Any = None
        self.executor: ProcessPoolExecutor | None = None
        self.process: Any = None
        self.loading: asyncio.Task | None = None
        self.stopped = False

    # Life of the process

    def start(self) -> None:
        """Start the process, without waiting for it."""
        self.executor = ProcessPoolExecutor(1, multiprocessing.get_context('spawn'), _begin,
                                            (self.factory, self.args))
        before = set(multiprocessing.active_children())
        masked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # of a terminal, Ctrl-C goes to all
        try:
            self.executor.submit(os.getpid)  # it is started for its first job
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, masked)
        self.process = next(iter(set(multiprocessing.active_children()) - before), None)

    def load(self, pictures: Any) -> None:
        """Load the models that are not there, one after another, in the background of the running loop.

        Args:
            pictures (Pictures): Is told of the images of the models' data, and of masks.
        """
        self.pictures = pictures
        self.loading = asyncio.create_task(self._load())

    def stop(self) -> None:
        """End the process at once; what waits for it gets an error."""
        self.stopped = True
        if self.loading is not None:
            self.loading.cancel()
        self._end()

    def _end(self) -> None:
        if self.process is not None:
            self.process.kill()
        if self.executor is not None:
            self.executor.shutdown(wait=False, cancel_futures=True)

    def _restart(self, executor: ProcessPoolExecutor) -> None:
        """Start the process again, unless another request has noticed before."""
        if self.executor is not executor or self.stopped:
            return
        LOG.warning(KILLED)
        self._end()
        self.start()
        for state in self.states:
            if state['ready'] is True:
                state['ready'] = 'loading'
        if self.loading is None or self.loading.done():
            self.load(self.pictures)

    async def _load(self) -> None:
        while (number := self._next_to_load()) is not None:
            try:
                found = await self._loaded(number)
            except JobError as error:
                self.states[number].update(ready='failed', message=error.sentence)
                LOG.error('%s: %s', self.states[number]['name'], error.sentence)
            else:
                self.states[number] = dict(found['facts'], ready=True, message='')
                self.pictures.learn(found['samples'], found['masks'], found['shown'])

    def _next_to_load(self) -> int | None:
        return next((number for number, state in enumerate(self.states) if state['ready'] == 'loading'), None)

    async def _loaded(self, number: int) -> dict:
        for _ in range(2):  # something else may have ended the process once
            with contextlib.suppress(Ended):
                return await self._in_turn('load', number, self.pictures.paths)
        raise JobError(503, 'The process of the models has ended while it was loaded, perhaps for want of memory.')

    # Jobs

    async def explore(self, asked: Any) -> bytes:
        """The answer to a run; of an undisturbed one, from memory if it is there.

        Raises:
            JobError: The queue is full, the model is not ready, or there is no result.
        """
        key = (asked.model, asked.id) if not asked.what_if else None
        kept = self._kept(key)
        if kept is not None:
            return kept
        self._check_ready(asked.model)
        with self._queued():
            return await self._in_turn('explore', asked, key=key, models=[asked.model])

    async def page(self, runs: Sequence[Any]) -> bytes:
        """The page of some runs as one file.

        Raises:
            JobError: As of :meth:`explore`.
        """
        for asked in runs:
            self._check_ready(asked.model)
        with self._queued():
            return await self._in_turn('page', runs, models=[asked.model for asked in runs])

    def _check_ready(self, number: int) -> None:
        state = self.states[number]
        if state['ready'] == 'loading':
            raise JobError(503, 'The model is still being loaded.')
        if state['ready'] == 'failed':
            raise JobError(422, f'The model could not be loaded: {state["message"]}')

    @contextlib.contextmanager
    def _queued(self) -> Iterator[None]:
        if self.waiting >= MAX_WAITING:
            raise JobError(429, f'{self.waiting} runs are waiting already; try again in a moment.')
        self.waiting += 1
        try:
            yield
        finally:
            self.waiting -= 1

    async def _in_turn(self, name: str, *args: Any, key: tuple | None = None, models: Sequence[int] = ()) -> Any:
        """Wait for the turn, which can be cancelled, and run; what runs is run to its end."""
        await self.turn.acquire()
        task = asyncio.create_task(self._submit(name, args, key, models))
        task.add_done_callback(lambda done: (self.turn.release(), done.cancelled() or done.exception()))
        return await asyncio.shield(task)

    async def _submit(self, name: str, args: tuple, key: tuple | None, models: Sequence[int]) -> Any:
        kept = self._kept(key)  # of a run of the same kind, that was before it in the queue
        if kept is not None:
            return kept
        for number in models:  # the process may have been started again meanwhile
            self._check_ready(number)
        executor = self.executor
        try:
            done = await asyncio.wrap_future(executor.submit(_do, name, args))
        except (BrokenProcessPool, RuntimeError, asyncio.CancelledError) as error:  # of one that was shut down, too
            if asyncio.current_task().cancelling():  # this task, and not what it waits for
                raise
            self._restart(executor)
            raise Ended(503, KILLED if not self.stopped else 'The explorer is ending.') from error
        if done.status != 200:
            raise JobError(done.status, done.result)
        if key is not None:
            self._keep(key, done.result)
        return done.result

    # What is remembered

    def _kept(self, key: tuple | None) -> bytes | None:
        if key not in self.kept:
            return None
        self.kept.move_to_end(key)
        return self.kept[key]

    def _keep(self, key: tuple, result: bytes) -> None:
        self.kept[key] = result
        while sum(map(len, self.kept.values())) > MAX_KEPT_BYTES:
            self.kept.popitem(last=False)


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
        return Done(422, ' '.join(str(error).split()))
    except Exception as error:
        if is_out_of_memory(error):
            return Done(507, 'The memory does not suffice for this model and this image; try a smaller image.')
        traceback.print_exc(file=sys.stderr)
        return Done(500, f'The computation failed ({type(error).__name__}); the log of the command says more.')


def is_out_of_memory(error: Exception) -> bool:
    """Whether an error says that memory did not suffice, of the GPU or of the computer."""
    return isinstance(error, MemoryError) or isinstance(error, RuntimeError) and any(
        text in str(error) for text in ("can't allocate memory", 'not enough memory', 'out of memory'))
