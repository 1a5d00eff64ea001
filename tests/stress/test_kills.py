"""SIGKILL at random moments, those within the write of a checkpoint among them."""
import random
import time
from pathlib import Path

import pytest

from mmwhitebox.checkpoints.atomic import TEMPORARY

from .conftest import KILLS
from .job import KEPT, Job, Setting, State, difference, inspect

LONGEST = 5.  # seconds after the first iteration
IMPORTS = 8.  # seconds in which a process only starts


def writes_checkpoint(work_dir: Path) -> bool:
    """Whether a checkpoint is being written right now."""
    return any(TEMPORARY.fullmatch(path.name) and '.pth' in path.name for path in work_dir.glob('.*'))


def kill_somewhere(job: Job, rng: random.Random) -> bool:
    """Wait for a random moment and kill; False if the training ended first."""
    kind = rng.choices(['while it trains', 'at a write', 'while it starts'], [5, 4, 1])[0]
    if kind == 'while it starts':
        end = time.monotonic() + rng.uniform(0, IMPORTS)
        job.wait_until(lambda: time.monotonic() > end)
    elif job.wait_for_iteration():
        end = time.monotonic() + rng.uniform(0, LONGEST)
        job.wait_until(lambda: time.monotonic() > end)
        if kind == 'at a write':
            job.wait_until(lambda: writes_checkpoint(job.work_dir), pause=0.0005)
    if not job.running():
        return False
    job.kill()
    return True


def judge(before: State, after: State, number: int) -> list[str]:
    """What a kill has done that it must not."""
    problems = [f'kill {number}: {line}' for line in after.damaged]
    if after.newest < before.newest:
        problems.append(f'kill {number}: --resume would go back from iteration {before.newest} to {after.newest}')
    if after.valid < min(before.valid, KEPT):
        problems.append(f'kill {number}: {after.valid} checkpoints of {before.valid} are left')
    return problems


def problems_of(setting: Setting, reference: Path, kills: int, rng: random.Random) -> list[str]:
    """Kill and resume until there were enough kills; compare the end of every training with the reference."""
    problems: list[str] = []
    killed = ended = 0
    while killed < kills or ended == 0:
        work_dir = setting.scratch / f'killed{ended}'
        state, finished = inspect(work_dir), False
        while not finished:
            job = Job(setting, work_dir, resume=state.newest > 0)
            if killed < kills and kill_somewhere(job, rng):
                killed += 1
                after = inspect(work_dir)
                problems += judge(state, after, killed)
                print(f'kill {killed} of {kills}: {after}', flush=True)
                state = after
            else:
                finished = True
                if job.end() != 0:
                    problems.append(f'a resumed training ended with {job.process.returncode}, see {job.output}')
        ended += 1
        differs = difference(reference, work_dir, setting.max_iters)
        problems += [f'training {ended}: {differs}'] if differs else []
    return problems


@pytest.mark.stress
def test_killed_trainings_end_as_the_undisturbed_one(setting, reference, rng):
    assert not problems_of(setting, reference, KILLS, rng)
