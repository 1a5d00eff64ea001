"""Broken samples are skipped and counted when a config says so; a worker that dies leaves the name of its sample.

The data-loader workers of a process share a folder, named in the environment so that workers started in any way find
it. In it, a file named after each worker's pid holds what the worker reads, written through a memory map: it outlives
the worker, and costs no system call. The file ``skipped`` has a line for every sample that any of them skipped.
"""
import contextlib
import json
import logging
import mmap
import os
import re
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path

from mmengine.config import Config
from mmengine.logging import print_log
from torch.utils.data import get_worker_info

from mmwhitebox.config_parts import walk
from mmwhitebox.errors import ConfigError, UserError, WorkerDeathError, joined

FOLDER = 'MMWHITEBOX_WORKERS'
NOTE_SIZE = 4096
MAX_NAMED = 5
IN_A_ROW = 100  # failures without a sample in between
DEATH = re.compile(
    r'DataLoader worker \(pid(?:\(s\))? ([\d, ]+)\) (?:is killed by signal: (.+?)\.|exited unexpectedly)')
ADVICE = {
    'Killed': 'The system may have run out of memory: fewer workers (num_workers) or smaller images need less.',
    'Bus error': 'Shared memory (/dev/shm) may be full: fewer workers (num_workers) need less.',
    'Segmentation fault': 'That file may crash its decoder: check it, or take it out of the dataset.',
}
ANY = ('The system may have run out of memory (fewer workers, num_workers, need less), or that file may crash its '
       'decoder: check it, or take it out of the dataset.')
LOOK = 'mmwhitebox check-data CONFIG reads every sample and names the broken ones.'


class OnError(ABC):
    """Mixed into a loading transform: what happens with a sample that cannot be used.

    Args:
        on_error (str): 'raise' stops with the error; 'skip' logs it once and lets the dataset take another sample.
            Only for training: a metric over fewer samples is another metric. Defaults to 'raise'.
        max_broken (int): Most samples to skip, of all workers of a process; one more is an error. Defaults to 100.

    Raises:
        ValueError: Another ``on_error``.
        UserError: Too many samples are broken, or nothing else is left to take.
    """

    def __init__(self, on_error: str = 'raise', max_broken: int = 100, **kwargs) -> None:
        if on_error not in ('raise', 'skip'):
            raise ValueError(f"on_error must be 'raise' or 'skip', got {on_error!r}.")
        super().__init__(**kwargs)
        self.on_error = on_error
        self.max_broken = max_broken
        self.in_a_row = 0

    @abstractmethod
    def load(self, results: dict) -> dict:
        """The work of the transform; raises UserError for a broken sample."""

    def load_or_skip(self, results: dict, name: str) -> dict | None:
        """:meth:`load`, or None for a broken sample that is to be skipped."""
        note_sample(name)
        try:
            loaded = self.load(results)
        except UserError as error:
            if self.on_error == 'raise':
                raise
            self.in_a_row += 1
            count = add_skipped(name, str(error))
            if count > self.max_broken or self.in_a_row > IN_A_ROW:
                most = f'max_broken={self.max_broken} samples' if count > self.max_broken else f'{IN_A_ROW} in a row'
                raise UserError(f'More than {most} could not be used, the last: {error} {LOOK}') from error
            return None
        self.in_a_row = 0
        return loaded


_page: tuple[str, mmap.mmap | None] = ('', None)  # this process's note: its file and the map of it
_skipped: set = set()  # what this process has logged


def note_sample(name: str) -> None:
    """Note what this data-loader worker is at; nothing happens elsewhere, or when nobody watches."""
    global _page
    folder = os.environ.get(FOLDER)
    if folder is None or get_worker_info() is None:
        return
    file = os.path.join(folder, str(os.getpid()))
    if _page[0] != file:
        try:
            with open(file, 'w+b') as handle:
                handle.truncate(NOTE_SIZE)
                _page = (file, mmap.mmap(handle.fileno(), NOTE_SIZE))
        except OSError:  # a full disk must not stop the reading
            _page = (file, None)
    if _page[1] is not None:
        note = os.fsencode(name)[:NOTE_SIZE - 1] + b'\0'
        _page[1][:len(note)] = note


def read_note(folder: str, pid: int) -> str | None:
    """What a worker was at when it last noted it; None if it noted nothing."""
    try:
        return os.fsdecode(Path(folder, str(pid)).read_bytes().partition(b'\0')[0]) or None
    except OSError:
        return None


def add_skipped(name: str, reason: str) -> int:
    """Log a skipped sample, once for the workers that share a folder.

    Returns:
        int: Samples skipped so far.
    """
    folder = os.environ.get(FOLDER)
    known = _skipped | set(read_skipped(folder))
    if name not in known:
        known.add(name)
        if folder is not None:
            with contextlib.suppress(OSError), open(os.path.join(folder, 'skipped'), 'a') as file:
                file.write(json.dumps(name) + '\n')
        # ERROR: processes other than the first show nothing below it
        print_log(f'Skipped a broken sample ({len(known)} so far): {reason}', logger='current', level=logging.ERROR)
    _skipped.add(name)
    return len(known)


def read_skipped(folder: str | None) -> list[str]:
    """Names of the samples skipped by the workers that share a folder."""
    try:
        lines = Path(folder or '', 'skipped').read_text().splitlines()
    except OSError:
        return []
    return list(dict.fromkeys(json.loads(line) for line in lines))


@contextlib.contextmanager
def watch_workers() -> Iterator[None]:
    """Around training or testing: a worker that dies becomes one error that names its sample; at the end, the number
    of skipped samples is logged.

    Raises:
        WorkerDeathError: A worker was killed (out of memory, say) or crashed.
    """
    with tempfile.TemporaryDirectory(prefix='mmwhitebox-', ignore_cleanup_errors=True) as folder:
        before = os.environ.get(FOLDER)
        os.environ[FOLDER] = folder
        try:
            yield
        except RuntimeError as error:
            message = describe_death(error, folder)
            if message is None:
                raise
            raise WorkerDeathError(message) from error
        finally:
            if before is None:
                os.environ.pop(FOLDER, None)
            else:
                os.environ[FOLDER] = before
            skipped = read_skipped(folder)
            if skipped:
                print_log(f'{len(skipped)} broken sample(s) skipped: {joined(skipped, MAX_NAMED)}. {LOOK}',
                          logger='current', level=logging.ERROR)


def dead_workers(error: BaseException | None) -> tuple[list[int], str]:
    """Pids of the workers whose death an error (or its cause) reports, and the signal's name if it is known."""
    while error is not None:
        found = DEATH.search(str(error)) if isinstance(error, RuntimeError) else None
        if found:
            return [int(pid) for pid in found.group(1).split(',')], found.group(2) or ''
        error = error.__cause__ or error.__context__
    return [], ''


def describe_death(error: RuntimeError, folder: str) -> str | None:
    """One message on a worker's death; None for another error."""
    pids, signal = dead_workers(error)
    if not pids:
        return None
    notes = [note for note in (read_note(folder, pid) for pid in pids) if note]
    where = f'The last sample it took: {", ".join(notes)}.' if notes else \
        'It had noted no sample yet (mmwhitebox.LoadImage does that).'
    how = f'was killed by a signal ({signal})' if signal else 'ended without a word'
    advice = ADVICE.get(signal, ANY)
    return f'A data-loader worker (pid {", ".join(map(str, pids))}) {how}. {where} {advice}'


def refuse_skipping(cfg: Config, splits: tuple[str, ...] = ('val', 'test')) -> None:
    """Make sure that no sample of an evaluation can be skipped.

    Args:
        cfg (Config): Full config.
        splits (tuple[str]): Splits to look at; 'train' is passed over.

    Raises:
        ConfigError: A pipeline of validation or test has ``on_error='skip'``.
    """
    names = [*(f'{split}_dataloader' for split in splits if split != 'train'), 'tta_pipeline']
    for path, part in walk({name: cfg[name] for name in names if name in cfg}):
        if part.get('on_error') == 'skip':
            raise ConfigError(f"{path}: on_error='skip' is for training. A metric on fewer samples is another metric: "
                              "take it out, and the broken file too.")
