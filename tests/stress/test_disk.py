"""A disk that fills up: warnings, a clear end, nothing lost, and the same parameters once there is room."""
import os
import resource
import subprocess

import pytest

from .job import KEPT, Job, difference, inspect, resumed

pytestmark = pytest.mark.stress
WARNING = 'Failure 2 in a row, 3 may be'  # of AtomicCheckpointHook
LAST_WORDS = 'checkpoints in a row could not be written'
ROOM = KEPT + 6  # checkpoints that fit: kept, best, written
FILE_LIMIT = 1 << 20  # bytes, less than a checkpoint


@pytest.fixture
def small_disk(tmp_path, setting, reference):
    """A tmpfs with room for a few checkpoints, where the system allows that."""
    size = ROOM * os.path.getsize(reference / f'iter_{setting.max_iters}.pth')
    mounted = subprocess.run(['mount', '-t', 'tmpfs', '-o', f'size={size}', 'tmpfs', str(tmp_path)],
                             capture_output=True, text=True)
    if mounted.returncode:
        pytest.skip(f'no tmpfs can be mounted here ({mounted.stderr.strip()})')
    yield tmp_path
    subprocess.run(['umount', '--lazy', str(tmp_path)], check=True)


def started(setting, work_dir):
    """A training that has written its first checkpoint."""
    job = Job(setting, work_dir)
    job.wait_until(lambda: (work_dir / 'last_checkpoint').is_file())
    return job


def fill(folder):
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


def test_a_disk_that_is_full_for_a_while_does_not_end_the_training(setting, reference, small_disk):
    """Two checkpoints cannot be written, then there is room again."""
    work_dir = small_disk / 'work'
    job = started(setting, work_dir)
    filler = fill(small_disk)
    job.wait_until(lambda: WARNING in job.text())
    filler.unlink()
    assert job.end() == 0 and WARNING in job.text(), job.output
    assert difference(reference, work_dir, setting.max_iters) is None


def test_a_disk_that_stays_full_is_a_clear_end(setting, reference, small_disk):
    work_dir = small_disk / 'work'
    job = started(setting, work_dir)
    filler = fill(small_disk)
    assert job.end() == 1 and LAST_WORDS in job.error() and 'No space left' in job.error(), job.output
    refused = Job(setting, work_dir, resume=True)
    assert refused.end() == 1 and 'No space left' in refused.error(), refused.output
    state = inspect(work_dir)
    assert state.newest and not state.damaged
    filler.unlink()
    resumed(setting, work_dir)
    assert difference(reference, work_dir, setting.max_iters) is None


def test_files_that_may_not_grow_to_a_checkpoint_are_a_clear_end(setting, reference):
    """The same without a disk of one's own."""
    work_dir = setting.scratch / 'limited'
    started(setting, work_dir).kill()
    job = Job(setting, work_dir, resume=True,
              limit=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (FILE_LIMIT, FILE_LIMIT)))
    assert job.end() == 1 and LAST_WORDS in job.error(), job.output
    assert not inspect(work_dir).damaged
    resumed(setting, work_dir)
    assert difference(reference, work_dir, setting.max_iters) is None
