"""Signals that ask a training to stop: the first one is noted, a second one ends the process at once.

A thread reads them from a pipe that Python's handler writes to, so that a second signal works although the main thread
is inside a collective that never returns.
"""
import ctypes
import os
import select
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from types import FrameType
from typing import Optional

PAUSE = 1.  # seconds after the first signal in which others are taken for the same one, sent twice
POLL = 0.5
END = b'\0'  # no number of a signal

_watch: Optional['SignalWatch'] = None  # the one that is on in this process


class SignalWatch:
    """Context manager that takes over some signals of the process, in the main thread.

    Args:
        signals (Sequence[signal.Signals]): Signals to take over; those that the process ignores (``nohup``) stay
            ignored.
        on_first (Callable): Called with the first signal, in the thread that reads the pipe.
        handler (Callable): Python's handler of all of them, called in the main thread as soon as that is possible.
    """

    def __init__(self, signals: Sequence[signal.Signals], on_first: Callable[[signal.Signals], None],
                 handler: Callable[[int, FrameType | None], None]) -> None:
        self.signals = signals
        self.on_first = on_first
        self.handler = handler
        self.received: signal.Signals | None = None
        self.leaving = False  # the process is on its way out: signals change nothing any more
        self._old: dict = {}

    def __enter__(self) -> 'SignalWatch':
        global _watch
        if threading.current_thread() is not threading.main_thread():
            return self
        self._reader, self._writer = os.pipe()
        os.set_blocking(self._writer, False)
        self._old = {number: signal.signal(number, self.handler) for number in self.signals
                     if signal.getsignal(number) is not signal.SIG_IGN}
        self._old_pipe = signal.set_wakeup_fd(self._writer, warn_on_full_buffer=False)
        self._thread = threading.Thread(target=self._read, name='signals', daemon=True)
        self._thread.start()
        _watch = self
        return self

    def __exit__(self, *_: object) -> None:
        global _watch
        if _watch is not self:
            return
        _watch = None
        signal.set_wakeup_fd(self._old_pipe)
        for number, handler in self._old.items():
            signal.signal(number, handler)
        os.write(self._writer, END)
        self._thread.join()
        os.close(self._writer)
        os.close(self._reader)

    def _read(self) -> None:
        parent, first = os.getppid(), 0.
        launched = 'LOCAL_RANK' in os.environ  # another parent, a shell say, may get the same signal and be gone
        while True:
            ready, _, _ = select.select([self._reader], [], [], POLL)
            numbers = os.read(self._reader, 64) if ready else b''
            if END in numbers:
                return
            for number in numbers:
                if number not in self._old or self.leaving:
                    continue
                if self.received is None:
                    self.received, first = signal.Signals(number), time.monotonic()
                    self.on_first(self.received)
                elif time.monotonic() - first > PAUSE:
                    end_at_once(f'{signal.Signals(number).name} again: the training ends at once, nothing is saved.',
                                128 + number)
            if launched and self.received is not None and os.getppid() != parent and not self.leaving:
                end_at_once('The launcher is gone: the training ends at once, nothing is saved.', 128 + self.received)


def end_at_once(message: str, status: int) -> None:
    """Leave without cleaning up: the main thread may be stuck."""
    with suppress(OSError):
        sys.stderr.write(f'{message}\n')
        sys.stderr.flush()
    os._exit(status)


def _forget_in_child() -> None:
    """A forked child does not answer for its parent: the pipe is the parent's."""
    global _watch
    if _watch is not None:
        signal.set_wakeup_fd(-1)
        for number, handler in _watch._old.items():
            signal.signal(number, handler)
        _watch = None


os.register_at_fork(after_in_child=_forget_in_child)


def _obey_parent(leaving: ctypes.c_bool, signum: int, frame: object) -> None:
    if leaving.value:
        os._exit(0)


def shield_worker(worker_id: int, leaving: ctypes.c_bool, init: Callable[[int], None] | None) -> None:
    """``worker_init_fn`` of a worker that lives until its training ends it, although signals reach the whole group.

    Args:
        worker_id (int): Number of the worker.
        leaving (ctypes.c_bool): Shared with the main process: its training is over, and it may end the workers.
        init (Callable, optional): The ``worker_init_fn`` of the loader itself.
    """
    for number in (signal.SIGINT, signal.SIGUSR1):
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, partial(_obey_parent, leaving))
    if init is not None:
        init(worker_id)
