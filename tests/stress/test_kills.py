"""SIGKILL at random moments, those within the write of a checkpoint among them."""
import random
import time
from pathlib import Path

from mmwhitebox.checkpoints.atomic import TEMPORARY

from .board import Board
from .job import KEPT, Job, Setting, State, difference, inspect

LONGEST = 5.  # seconds after the first iteration
IMPORTS = 8.  # seconds in which a process only starts


def writes_checkpoint(work_dir: Path) -> bool:
    """Whether a checkpoint is being written right now."""
    return any(TEMPORARY.fullmatch(path.name) and '.pth' in path.name for path in work_dir.glob('.*'))


def kill_somewhere(job: Job, rng: random.Random) -> str:
    """Wait for a random moment and kill; returns which kind of moment it was, empty if the training ended first."""
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
        return ''
    job.kill()
    return kind


def judge(before: State, after: State, number: int) -> list[str]:
    """What a kill has done that it must not."""
    problems = [f'kill {number}: {line}' for line in after.damaged]
    if after.newest < before.newest:
        problems.append(f'kill {number}: --resume would go back from iteration {before.newest} to {after.newest}')
    if after.valid < min(before.valid, KEPT):
        problems.append(f'kill {number}: {after.valid} checkpoints of {before.valid} are left')
    return problems


def trial(setting: Setting, board: Board, reference: Path, kills: int, rng: random.Random) -> None:
    """Kill and resume until there were enough kills; compare the end of every training with the reference."""
    problems: list[str] = []
    killed = inside = ended = 0
    while killed < kills or ended == 0:
        work_dir = setting.scratch / f'killed{ended}'
        state, finished = inspect(work_dir), False
        while not finished:
            job = Job(setting, work_dir, resume=state.newest > 0)
            kind = kill_somewhere(job, rng) if killed < kills else ''
            if kind:
                killed += 1
                after = inspect(work_dir)
                inside += after.inside_write
                problems += judge(state, after, killed)
                where = 'inside a write' if after.inside_write else kind
                board.step(f'kill {killed} of {kills}, {where}; {after.valid} checkpoints verify, newest is of '
                           f'iteration {after.newest}')
                state = after
            elif job.end() != 0:
                problems.append(f'a resumed training ended with {job.process.returncode}, see {job.output}')
                finished = True
            else:
                finished = True
        ended += 1
        differs = difference(reference, work_dir, setting.max_iters)
        problems += [f'training {ended}: {differs}'] if differs else []
        board.step(f'training {ended} ended, {differs or "equal to the undisturbed one"}')
    board.add('kills', problems, f'{killed} kills ({inside} inside a write), every checkpoint verified after each; '
              f'trainings that ended equal to the undisturbed one: {ended}')
