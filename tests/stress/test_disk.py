"""A disk that fills up: warnings, a clear end, nothing lost, and the same parameters once there is room."""
import os
import resource
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .board import Board
from .job import KEPT, Job, Setting, difference, inspect

WARNING = 'in a row, 3 may be'  # of AtomicCheckpointHook
LAST_WORDS = 'checkpoints in a row could not be written'
ROOM = KEPT + 6  # checkpoints that fit: kept, best, written
FILE_LIMIT = 1 << 20  # bytes, less than a checkpoint


@contextmanager
def small_disk(folder: Path, size: int) -> Iterator[str | None]:
    """A tmpfs of ``size`` bytes at ``folder``; gives the reason if the system does not allow that."""
    folder.mkdir()
    mounted = subprocess.run(['mount', '-t', 'tmpfs', '-o', f'size={size}', 'tmpfs', str(folder)],
                             capture_output=True, text=True)
    try:
        yield mounted.stderr.strip() if mounted.returncode else None
    finally:
        if mounted.returncode == 0:
            subprocess.run(['umount', '--lazy', str(folder)], check=True)


def fill(folder: Path) -> Path:
    """Take all the room that is left; returns the file to delete."""
    filler = folder / 'filler'
    with open(filler, 'wb', buffering=0) as file:
        for size in (1 << 20, 1 << 12, 1):
            try:
                while file.write(bytes(size)) == size:
                    pass
            except OSError:
                continue
    return filler


def fill_for_a_while(setting: Setting, work_dir: Path, reference: Path) -> list[str]:
    """The disk is full for two checkpoints, then there is room again: the training must not end."""
    job = Job(setting, work_dir)
    job.wait_until(lambda: (work_dir / 'last_checkpoint').is_file())
    filler = fill(work_dir.parent)
    job.wait_until(lambda: f'Failure 2 {WARNING}' in job.text())
    filler.unlink()
    code = job.end()
    if code != 0 or f'Failure 2 {WARNING}' not in job.text():
        return [f'full for a while: ended with {code}, see {job.output}']
    differs = difference(reference, work_dir, setting.max_iters)
    return [f'full for a while: {differs}'] if differs else []


def fill_for_good(setting: Setting, work_dir: Path, reference: Path) -> list[str]:
    """The disk stays full: a clear end, and equal parameters after ``--resume`` with room."""
    job = Job(setting, work_dir)
    job.wait_until(lambda: (work_dir / 'last_checkpoint').is_file())
    filler = fill(work_dir.parent)
    code = job.end()
    problems = []
    if code != 1 or LAST_WORDS not in job.error() or 'No space left' not in job.error():
        problems.append(f'full for good: ended with {code} and {job.error()!r}, see {job.output}')
    refused = Job(setting, work_dir, resume=True)
    if refused.end() != 1 or 'No space left' not in refused.error():
        problems.append(f'full at the start: no clear error, see {refused.output}')
    state = inspect(work_dir)
    problems += state.damaged if state.newest else ['full for good: the last checkpoint is gone']
    filler.unlink()
    return problems + resume(setting, work_dir, reference, 'full for good')


def limit_files(setting: Setting, work_dir: Path, reference: Path) -> list[str]:
    """Without a disk of one's own: files may not grow to the size of a checkpoint."""
    first = Job(setting, work_dir)
    first.wait_until(lambda: (work_dir / 'last_checkpoint').is_file())
    first.kill()
    job = Job(setting, work_dir, resume=True,
              limit=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (FILE_LIMIT, FILE_LIMIT)))
    code = job.end()
    problems = [] if code == 1 and LAST_WORDS in job.error() else [
        f'limited files: ended with {code} and {job.error()!r}, see {job.output}']
    return problems + inspect(work_dir).damaged + resume(setting, work_dir, reference, 'limited files')


def resume(setting: Setting, work_dir: Path, reference: Path, what: str) -> list[str]:
    """Go on to the end and compare."""
    job = Job(setting, work_dir, resume=True)
    if job.end() != 0:
        return [f'{what}: --resume ended with {job.process.returncode}, see {job.output}']
    differs = difference(reference, work_dir, setting.max_iters)
    return [f'{what}: after --resume {differs}'] if differs else []


def trial(setting: Setting, board: Board, reference: Path) -> None:
    """Fill a small disk, for a while and for good; limit the size of files where no disk can be mounted."""
    size = ROOM * os.path.getsize(reference / f'iter_{setting.max_iters}.pth')
    for name, work in (('disk full for a while', fill_for_a_while), ('disk full for good', fill_for_good)):
        mount = setting.scratch / name.replace(' ', '_')
        with small_disk(mount, size) as reason:
            if reason is None:
                board.add(name, work(setting, mount / 'work', reference), {
                    fill_for_a_while: 'warnings, then the training went on and ended equal to the undisturbed one',
                    fill_for_good: 'a clear error, all checkpoints verify, --resume with room ended equal'}[work])
                board.step(f'{name}: done', count=2)
                continue
        board.skip(name, f'no tmpfs can be mounted here ({reason})')
    if any(result.status == 'SKIP' for result in board.results):
        board.add('file size limited', limit_files(setting, setting.scratch / 'limited', reference),
                  'a clear error, all checkpoints verify, --resume without the limit ended equal')
