"""The trainings of a suite, each by tools/train.py, and one JSON of scalars for each."""
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import NamedTuple

from mmengine.config import Config

from benchmarks.report import hardware, versions_of
from mmwhitebox.errors import UserError

from .suites import ROOT, Row, Suite

PACKAGES = ('torch', 'timm', 'onedl-mmengine', 'onedl-mmsegmentation', 'onedl-mmpretrain')
TIMES = 'seconds.json'  # in a work dir: the wall time of every attempt


class Run(NamedTuple):
    """One training: a config under a seed.

    Attributes:
        suite (Suite): Where it belongs.
        row (Row): The config.
        seed (int): Of everything random.
        work_dir (Path): Where ``tools/train.py`` writes.
    """

    suite: Suite
    row: Row
    seed: int
    work_dir: Path

    @property
    def name(self) -> str:
        """``<config>_seed<seed>``."""
        return f'{self.row.name}_seed{self.seed}'

    @property
    def arguments(self) -> list[str]:
        """Arguments of ``tools/train.py``, as a person would give them."""
        return [self.suite.config(self.row), '--cfg-options', f'randomness.seed={self.seed}']


def runs_of(suite: Suite, work_dir: Path, quick: bool) -> list[Run]:
    """All trainings of a suite, seed by seed, so that an interrupted series can be compared. Quick: one seed."""
    runs = [Run(suite, row, seed, work_dir / f'{row.name}_seed{seed}') for row in suite.rows() for seed in row.seeds]
    return sorted((run for run in runs if not quick or run.seed == 0), key=lambda run: run.seed)


def read_scalars(work_dir: Path) -> list[dict]:
    """The logged values of a training, of all its attempts; of a step logged twice, the later attempt's."""
    lines: dict[tuple, dict] = {}
    for path in sorted(work_dir.glob('*/vis_data/scalars.json')):
        for line in path.read_text().splitlines():
            values = json.loads(line)
            lines[values['step'], *sorted(values)] = values
    return sorted(lines.values(), key=lambda values: values['step'])


def is_finished(run: Run, options: Sequence[str]) -> bool:
    """Whether the last validation of a run is on record."""
    return any(run.suite.metric in values and values['step'] == last_step(run, options)
               for values in read_scalars(run.work_dir))


def last_step(run: Run, options: Sequence[str]) -> int:
    """The number of iterations of a run."""
    given = dict(option.split('=') for option in options)
    return int(given.get('train_cfg.max_iters', Config.fromfile(ROOT / run.suite.config(run.row)).train_cfg.max_iters))


def train(run: Run, options: Sequence[str], threads: int) -> None:
    """Train, or go on with, one run.

    Raises:
        UserError: ``tools/train.py`` failed; its output is in ``output.txt`` of the work dir.
    """
    run.work_dir.mkdir(parents=True, exist_ok=True)
    output = run.work_dir / 'output.txt'
    start = time.time()
    resume = ['--resume'] if (run.work_dir / 'last_checkpoint').exists() else []
    with output.open('a') as file:
        done = subprocess.run(
            [sys.executable, 'tools/train.py', *run.arguments, *options, '--work-dir', str(run.work_dir), *resume],
            cwd=ROOT, stdout=file, stderr=subprocess.STDOUT,
            env={**os.environ, 'OMP_NUM_THREADS': str(threads)})
    times = run.work_dir / TIMES
    before = json.loads(times.read_text()) if times.exists() else []
    times.write_text(json.dumps([*before, time.time() - start]))
    if done.returncode:
        raise UserError(f'{run.name}: tools/train.py ended with status {done.returncode}; its output is in {output}.')


def augmented_metrics(run: Run, checkpoint: Path, options: Sequence[str]) -> dict[str, float]:
    """The metrics of a trained model under multi-scale and flip test-time augmentation.

    Raises:
        UserError: ``tools/test.py`` failed.
    """
    folder = run.work_dir / 'tta'
    done = subprocess.run(
        [sys.executable, 'tools/test.py', run.suite.config(run.row), str(checkpoint), '--tta', '--work-dir',
         str(folder), *(['--cfg-options', *options] if options else [])], cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        raise UserError(f'{run.name}: tools/test.py --tta ended with status {done.returncode}:\n{done.stderr[-2000:]}')
    metrics = json.loads(max(folder.glob('*/*.json')).read_text())
    return {key: round(value, 2) for key, value in metrics.items() if 'time' not in key}


def train_all(runs: Sequence[Run], options: Sequence[str], jobs: int) -> Iterator[Run]:
    """Train several at a time, the cores shared among them; yields a run when it is finished.

    Runs that are finished already are yielded at once, interrupted ones go on from their last checkpoint.

    Raises:
        UserError: A training failed. Those under way are finished first.
    """
    waiting = []
    for run in runs:
        if is_finished(run, options):
            yield run
        else:
            waiting.append(run)
    with ThreadPoolExecutor(jobs) as pool:
        threads = max(1, (os.cpu_count() or 1) // jobs)
        pending: dict[Future, Run] = {pool.submit(train, run, options, threads): run for run in waiting}
        try:
            while pending:
                for future in wait(pending, return_when=FIRST_COMPLETED).done:
                    run = pending.pop(future)
                    future.result()
                    yield run
        finally:
            for future in pending:
                future.cancel()


def record(run: Run, options: Sequence[str]) -> dict:
    """What is kept of a training: command, hardware, versions, time, and every logged value."""
    kept = ('loss', 'base_lr')
    train_values: dict[str, list] = dict(step=[])
    validations, rates = [], {}
    for values in read_scalars(run.work_dir):
        step = values['step']
        if 'loss' in values:
            train_values['step'].append(step)
            for key in kept:
                train_values.setdefault(key, []).append(round(values[key], 6))
        elif run.suite.metric in values:
            validations.append({key: value for key, value in values.items() if 'time' not in key})
        else:
            rates.setdefault('step', []).append(step)
            for key, value in values.items():
                if '/' in key:
                    rates.setdefault(key, []).append(round(value, 4))
    return dict(
        config=run.suite.config(run.row),
        seed=run.seed,
        command=' '.join(['python tools/train.py', *run.arguments, *options]),
        hardware=hardware(),
        versions=versions_of(PACKAGES),
        seconds=round(sum(json.loads((run.work_dir / TIMES).read_text()))),
        train=train_values,
        val=validations,
        coding_rate=rates)
