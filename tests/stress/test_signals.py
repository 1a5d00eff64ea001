"""SIGTERM, SIGINT and SIGUSR1: the training saves, leaves with its own exit code, and resumes to the same end."""
import os
import random
import signal
import time
from pathlib import Path

from mmwhitebox.engine.hooks.stop_on_signal import STOPPED

from .board import Board
from .job import Job, Setting, difference, inspect

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)


def trial(setting: Setting, board: Board, reference: Path, rng: random.Random) -> None:
    """One training, stopped by each signal in turn and resumed."""
    work_dir = setting.scratch / 'stopped'
    problems: list[str] = []
    stops = []
    for number, name in enumerate(SIGNALS):
        job = Job(setting, work_dir, resume=number > 0)
        if not job.wait_for_iteration():
            problems.append(f'{name.name}: the training ended before the signal, see {job.output}')
            break
        time.sleep(rng.uniform(0, 2))
        last = job.iteration()
        os.kill(job.process.pid, name)
        code = job.end(limit=120)
        state = inspect(work_dir)
        if code != STOPPED:
            problems.append(f'{name.name}: exit code {code}, not {STOPPED}, see {job.output}')
        if state.newest < last or state.damaged:
            problems.append(f'{name.name}: iteration {last} was reached, the newest checkpoint is of {state.newest}')
        stops.append(f'{name.name} at {state.newest}')
        board.step(f'{name.name}: stopped, newest checkpoint is of iteration {state.newest}')
    job = Job(setting, work_dir, resume=True)
    if job.end() != 0:
        problems.append(f'--resume ended with {job.process.returncode}, see {job.output}')
    else:
        differs = difference(reference, work_dir, setting.max_iters)
        problems += [differs] if differs else []
    board.step('resumed after signals: done')
    board.add('signals', problems, f'exit code {STOPPED} after {", ".join(stops)}; ended equal to the undisturbed one')
