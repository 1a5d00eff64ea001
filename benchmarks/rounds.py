"""Timing side by side: build, compare, warm up, then rounds A B C, A B C, ... and what they say."""
import gc
import logging
import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

from mmwhitebox.errors import UserError
from mmwhitebox.ops import dispatch

from .agreement import Disagreement, check_agreement
from .cases import Case, Contestant, Settings, Unable, make_step
from .memory import LargeCopy, peak_bytes, saved_bytes, synchronize


@contextmanager
def fused_or_unable(contestant: Contestant) -> Iterator[None]:
    """Raise :class:`Unable` if an operator that has kernels says inside the block that it runs without them."""
    said: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: said.append(record.getMessage())
    dispatch._said.clear()  # each reason is said once; an earlier case may have heard it
    dispatch.logger.addHandler(handler)
    try:
        yield
    finally:
        dispatch.logger.removeHandler(handler)
    said = [line for line in said if 'no kernels' not in line]
    if contestant.form == 'triton' and said:
        raise Unable(said[0])


def reason_of(error: Exception) -> str:
    """One line for the row of a contestant that failed."""
    if isinstance(error, (Unable, UserError)):
        return str(error)
    if isinstance(error, torch.OutOfMemoryError):
        return 'out of memory'
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f'{type(error).__name__}: {lines[0][:160] if lines else "no message"}'


def release(device: torch.device) -> None:
    """Give back what failed or finished contestants held."""
    gc.collect()
    if device.type == 'cuda':
        torch.cuda.empty_cache()


class Contest:
    """Contestants of one case on their way to the clock; who fails stays in the table with the reason."""

    def __init__(self, case: Case, settings: Settings) -> None:
        self.case = case
        self.settings = settings
        self.rows: dict[str, dict] = {name: {} for name in case.builders}
        self.ready: dict[str, Contestant] = {}

    def attempt(self, name: str, action: Callable, *args: Any) -> Any:
        """Result of an action for a contestant; None if it failed, and the contestant is out.

        Raises:
            Disagreement: It computes something else than ours, which ends everything.
        """
        try:
            return action(*args)
        except Disagreement:
            raise
        except Exception as error:
            self.rows[name] = dict(reason=reason_of(error))
        self.ready.pop(name, None)
        if self.settings.device.type == 'cuda':
            release(self.settings.device)
        return None

    def run(self) -> dict:
        """Everything from the building to the last round; see :func:`run_case`."""
        for name, build in self.case.builders.items():
            contestant = self.attempt(name, build)
            if contestant is not None:
                self.ready[name] = contestant
        self.compare(compiled=False)
        for name, contestant in list(self.ready.items()):
            self.attempt(name, self.case.settle, contestant, self.settings)
        self.compare(compiled=True)
        steps = {}
        for name in list(self.ready):
            step = self.attempt(name, self.warm_up, name)
            if step is not None:
                steps[name] = step
        self.time(steps)
        return dict(labels=self.case.labels, items=self.case.items, contestants=self.rows,
                    references=self.case.references, floors=self.case.floors)

    def compare(self, compiled: bool) -> None:
        """Check the forms that must agree: the eager ones, or the compiled ones."""
        for name, other in self.case.same_as.items():
            if name in self.ready and other in self.ready and self.ready[name].compiled == compiled:
                found = self.attempt(name, self._agreement, name, self.ready[other])
                if found is not None:
                    self.rows[name]['difference'] = found

    def _agreement(self, name: str, ours: Contestant) -> dict[str, float]:
        with fused_or_unable(self.ready[name]):
            return check_agreement(self.case, name, self.ready[name], ours, self.settings)

    def warm_up(self, name: str) -> tuple[Callable, int]:
        """The step of a contestant and how often it runs in a round; notes its memory."""
        case, settings, row, contestant = self.case, self.settings, self.rows[name], self.ready[name]
        if case.training and settings.device.type == 'cpu' and not contestant.compiled:
            row['saved_bytes'] = saved_bytes(case, contestant, settings)
        step = make_step(case, contestant, settings)
        with fused_or_unable(contestant):
            step()  # compiles
        elapsed = timed(step, 1, settings.device)
        if elapsed > settings.call_budget:
            raise Unable(f'one step takes {elapsed:.0f} s, the budget is {settings.call_budget:g} s')
        if case.columns is None:
            row['peak_bytes'] = peak_bytes(step, settings.device)
        else:
            row['columns'] = case.columns[name]
        for _ in range(settings.warmup - 1):
            elapsed = min(elapsed, timed(step, 1, settings.device))
        return step, max(1, math.ceil(settings.min_seconds / elapsed))

    def time(self, steps: dict[str, tuple[Callable, int]]) -> None:
        """Rounds over all contestants.

        What disturbs the machine for a while falls on all of them alike, and the ratio within a round
        cancels it. Operators, whose floor is the bandwidth of the memory, are each followed by a large copy:
        a bandwidth from another moment would not be theirs where others share the memory.
        """
        copy = LargeCopy(self.settings.device) if self.case.floors else None
        for name in steps:
            self.rows[name]['seconds'] = []
            if copy is not None:
                self.rows[name]['copy_bytes_per_second'] = []
        gc.disable()
        try:
            for _ in range(self.settings.rounds):
                for name in [name for name in steps if name in self.ready]:
                    seconds = self.attempt(name, timed, *steps[name], self.settings.device)
                    if seconds is not None:
                        self.rows[name]['seconds'].append(float(f'{seconds:.4g}'))
                        if copy is not None:
                            rate = copy.bytes / timed(copy, 1, self.settings.device)
                            self.rows[name]['copy_bytes_per_second'].append(float(f'{rate:.4g}'))
        finally:
            gc.enable()


def timed(step: Callable[[], object], repeats: int, device: torch.device) -> float:
    """Seconds of one step, the mean of so many in a row."""
    synchronize(device)
    start = time.perf_counter()
    for _ in range(repeats):
        step()
    synchronize(device)
    return (time.perf_counter() - start) / repeats


def run_case(case: Case, settings: Settings) -> dict:
    """Build, compare, warm up and time the contestants of a case.

    Args:
        case (Case): What is compared.
        settings (Settings): How.

    Returns:
        dict: ``labels``, ``items``, ``references``, ``floors`` and ``contestants``: for each its times in
        seconds, one a round, or the ``reason`` why it has none; ``copy_bytes_per_second`` of the large copy
        after each, for operators; ``peak_bytes``, ``saved_bytes``, and the ``difference`` from the form that
        it must agree with; ``columns``, where the case has some.

    Raises:
        Disagreement: A form computes something else than ours. Nothing is timed then.
    """
    contest = Contest(case, settings)
    result = contest.run()
    if any(contestant.compiled for contestant in contest.ready.values()):
        torch.compiler.reset()  # graphs of this case; their number is limited
    del contest
    release(settings.device)
    return result


def quartiles(values: Sequence[float]) -> dict[str, float]:
    """Median and the quartiles around it."""
    low, median, high = np.percentile(values, (25, 50, 75))
    return {key: float(f'{value:.4g}') for key, value in (('median', median), ('low', low), ('high', high))}


def ratios(case: dict) -> dict[str, dict[str, dict[str, float]]]:
    """How many times as fast as its references each contestant is: quartiles of the ratios per round.

    Args:
        case (dict): From :func:`run_case`, or from its JSON.

    Returns:
        dict: Contestant -> title of the column -> median, low, high; only where both have times.
    """
    found: dict[str, dict[str, dict[str, float]]] = {}
    rows = case['contestants']
    for name, columns in case['references'].items():
        for column, other in columns.items():
            own, theirs = (rows.get(key, {}).get('seconds') for key in (name, other))
            if own and theirs and name != other:
                found.setdefault(name, {})[column] = quartiles([b / a for a, b in zip(own, theirs)])
    return found
