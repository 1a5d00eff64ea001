"""The queue of what is asked of the models: one job runs at a time, the others wait here, where they can be dropped."""
import asyncio
import contextlib
import logging
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from .process import Ended, JobError, ModelProcess
from .runs import Asked

if TYPE_CHECKING:
    from .images import Pictures

LOG = logging.getLogger(__name__)
MAX_WAITING = 16
MAX_KEPT_BYTES = 256 * 2**20


class Jobs:
    """Models in a process of their own.

    Args:
        names (Sequence[str]): What each model is called until it is loaded.
        factory (Callable): Gives them, see :class:`.process.ModelProcess`: what has ``load(number, listed)``,
            ``explore(asked)`` and ``page(runs)`` as :class:`.models.Models` has.
        args (tuple): Arguments of the factory. Defaults to none.

    Attributes:
        states (list[dict]): Of every model: ``ready`` (True, 'loading' or 'failed'), ``message``, and what ``load``
            gave as ``facts``.
        home (ModelProcess): Where the models are.
    """

    def __init__(self, names: Sequence[str], factory: Callable, args: tuple = ()) -> None:
        self.home = ModelProcess(factory, args)
        self.states: list[dict] = [dict(name=name, task=None, classes=[], palette=None, facts={}, ready='loading',
                                        message='') for name in names]
        self.kept: OrderedDict[tuple, bytes] = OrderedDict()
        self.waiting = 0
        self.turn = asyncio.Lock()
        self.pictures: Pictures | None = None
        self.loading: asyncio.Task | None = None

    def start(self) -> None:
        """Start the process, if it has not been started."""
        if self.home.process is None:
            self.home.start()

    def load(self, pictures: 'Pictures') -> None:
        """Load the models that are not there, one after another, in the background of the running loop.

        Args:
            pictures (Pictures): Is told of the images of the models' data, and of masks.
        """
        self.pictures = pictures
        self.loading = asyncio.create_task(self._load())

    def stop(self) -> None:
        """End the process at once; what waits for it gets an error."""
        if self.loading is not None:
            self.loading.cancel()
        self.home.stop()

    def _load_again(self) -> None:
        for state in self.states:
            if state['ready'] is True:
                state['ready'] = 'loading'
        if self.loading.done():
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

    async def explore(self, asked: Asked) -> bytes:
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

    async def page(self, runs: Sequence[Asked]) -> bytes:
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
        try:
            result = await self.home.call(name, *args)
        except Ended:
            if not self.home.stopped:
                self._load_again()
            raise
        if key is not None:
            self._keep(key, result)
        return result

    def _kept(self, key: tuple | None) -> bytes | None:
        if key not in self.kept:
            return None
        self.kept.move_to_end(key)
        return self.kept[key]

    def _keep(self, key: tuple, result: bytes) -> None:
        self.kept[key] = result
        while sum(map(len, self.kept.values())) > MAX_KEPT_BYTES:
            self.kept.popitem(last=False)
