"""A training started as a user starts it, that can be watched and ended, and what it leaves in its work dir."""
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from mmwhitebox.checkpoints import newest_checkpoint, verify_checkpoint
from mmwhitebox.checkpoints.atomic import TEMPORARY
from mmwhitebox.errors import CheckpointError

ROOT = Path(__file__).parents[2]
CONFIG = ROOT / 'configs' / 'cbt_decoder/cbt_decoder_mini_ade20k.py'
ITERATION = re.compile(r'Iter\(train\) \[ *(\d+)/')
START_LIMIT = 300  # seconds until the first iteration
END_LIMIT = 600  # seconds until a training has ended
INTERVAL, KEPT = 2, 3


class Setting(NamedTuple):
    """What all trainings of a stress test share."""
    scratch: Path
    max_iters: int

    @property
    def data(self) -> Path:
        return self.scratch / 'data'

    def options(self) -> list[str]:
        """A tiny model, a checkpoint at every second iteration, a validation now and then."""
        return [
            'model.backbone.model_kwargs.depth=1', 'model.decode_head.num_layers=1', 'train_dataloader.batch_size=2',
            f'train_cfg.max_iters={self.max_iters}', 'train_cfg.val_interval=10', 'default_hooks.logger.interval=1',
            f'default_hooks.checkpoint.interval={INTERVAL}', f'default_hooks.checkpoint.max_keep_ckpts={KEPT}'
        ]


def make_data(setting: Setting) -> None:
    """The generated images that all trainings read."""
    subprocess.run([sys.executable, '-m', 'examples.miniature.make_mini_ade20k', '--out', setting.data, '--train', '12',
                    '--val', '2', '--size', '128'], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)


def free_port() -> int:
    """A port that nobody listens to."""
    with socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))
        return probe.getsockname()[1]


class Job:
    """A running training in a session of its own; output goes to a file beside the work dir.

    Args:
        setting (Setting): Data and options.
        work_dir (Path): Its work dir.
        processes (int): 1, or the number of processes of ``tools/dist_train.sh``. Defaults to 1.
        resume (bool): With ``--resume``. Defaults to False.
        config (Path): Defaults to :data:`CONFIG`.
        options (Sequence[str]): Further ``--cfg-options``. Defaults to none.
        env (dict, optional): Further environment variables.
        limit (Callable, optional): Called in the new process before it starts, for limits of the system.

    A shell starts background jobs with SIGINT ignored, and that is inherited; here it has its default again.
    """

    def __init__(self, setting: Setting, work_dir: Path, processes: int = 1, resume: bool = False,
                 config: Path = CONFIG, options: Sequence[str] = (), env: dict[str, str] | None = None,
                 limit: Callable[[], None] | None = None) -> None:
        self.work_dir = work_dir
        self.output = setting.scratch / f'{work_dir.name}_{time.time_ns()}.log'
        command = [sys.executable, ROOT / 'tools' / 'train.py', config] if processes == 1 else \
            ['bash', ROOT / 'tools' / 'dist_train.sh', config, processes]
        command += ['--work-dir', work_dir] + ['--resume'] * resume + \
            ['--cfg-options', *setting.options(), *options]

        def prepare() -> None:
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            if limit is not None:
                limit()

        with open(self.output, 'wb') as output:
            self.process = subprocess.Popen(
                [str(part) for part in command], cwd=ROOT, stdout=output, stderr=subprocess.STDOUT,
                start_new_session=True, preexec_fn=prepare,
                env={**os.environ, 'OMP_NUM_THREADS': '1', 'PYTHONWARNINGS': 'ignore', 'PYTHONUNBUFFERED': '1',
                     'MINI_ADE20K_ROOT': str(setting.data), 'PYTHON': sys.executable, 'PORT': str(free_port()),
                     **(env or {})})

    def text(self) -> str:
        return self.output.read_text(errors='replace')

    def iteration(self) -> int:
        """Number of the last logged iteration, 0 before the first."""
        found = ITERATION.findall(self.text())
        return int(found[-1]) if found else 0

    def running(self) -> bool:
        return self.process.poll() is None

    def wait_until(self, condition: Callable[[], bool], limit: float = START_LIMIT, pause: float = 0.01) -> bool:
        """Wait for a condition; False if the training ended first.

        Raises:
            TimeoutError: It took longer than ``limit`` seconds; the training is killed.
        """
        end = time.monotonic() + limit
        while not condition():
            if not self.running():
                return condition()
            if time.monotonic() > end:
                self.kill()
                raise TimeoutError(f'{self.output}: nothing happened for {limit} seconds')
            time.sleep(pause)
        return True

    def wait_for_iteration(self, number: int = 1) -> bool:
        return self.wait_until(lambda: self.iteration() >= number)

    def end(self, limit: float = END_LIMIT) -> int:
        """Wait for the end; returns the exit code."""
        self.wait_until(lambda: not self.running(), limit, pause=0.05)
        return self.process.returncode

    def error(self) -> str:
        """The message that the training ended with, empty if there is none."""
        return next((line for line in reversed(self.text().splitlines()) if line.startswith('error: ')), '')

    def kill(self) -> None:
        """SIGKILL for the training, then for what it started."""
        for pid in [self.process.pid, *descendants(self.process.pid)]:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait()

    def ranks(self) -> dict[int, int]:
        """Process ids of the training processes by rank; those of its loaders are not among them."""
        found = {}
        for pid in descendants(self.process.pid):  # parents come before their children
            with suppress(OSError):
                variables = Path(f'/proc/{pid}/environ').read_text(errors='replace').split('\0')
                rank = next((text[5:] for text in variables if text.startswith('RANK=')), None)
                if rank is not None and 'train.py' in Path(f'/proc/{pid}/cmdline').read_text():
                    found.setdefault(int(rank), pid)
        return found


def descendants(pid: int) -> list[int]:
    """Processes that a process has started, and that these have, the older ones first."""
    children: dict[int, list[int]] = {}
    for stat in Path('/proc').glob('[0-9]*/stat'):
        with suppress(OSError):
            parent = int(stat.read_text().rpartition(')')[2].split()[1])
            children.setdefault(parent, []).append(int(stat.parent.name))
    found, queue = [], [pid]
    while queue:
        below = sorted(children.get(queue.pop(0), []))
        found += below
        queue += below
    return found


def resumed(setting: Setting, work_dir: Path, resume: bool = True, processes: int = 1) -> None:
    """Train, or go on, to the end.

    Raises:
        AssertionError: It ended with an error.
    """
    job = Job(setting, work_dir, processes, resume)
    assert job.end() == 0, f'ended with {job.process.returncode}, see {job.output}'


class State(NamedTuple):
    """What a work dir holds after a training was ended."""
    damaged: list[str]  # one line for every checkpoint that does not verify
    valid: int  # checkpoints that do
    newest: int  # iteration that --resume would continue from, 0 for none
    inside_write: bool  # a temporary file was left


def inspect(work_dir: Path) -> State:
    """Verify every checkpoint of a work dir."""
    damaged, valid = [], 0
    for path in sorted(work_dir.glob('*.pth')):
        try:
            verify_checkpoint(path)
            valid += 1
        except CheckpointError as error:
            damaged.append(str(error))
    path, _ = newest_checkpoint([work_dir])
    newest = verify_checkpoint(path)['meta']['iter'] if path is not None else 0
    return State(damaged, valid, newest, any(TEMPORARY.fullmatch(path.name) for path in work_dir.glob('.*')))


def tensors(value: object, name: str) -> dict[str, Tensor]:
    """All tensors and numbers within nested containers, by their place."""
    if isinstance(value, dict):
        parts = [tensors(part, f'{name}.{key}') for key, part in value.items()]
    elif isinstance(value, (list, tuple)):
        parts = [tensors(part, f'{name}.{i}') for i, part in enumerate(value)]
    else:
        return {name: torch.as_tensor(value)} if isinstance(value, (Tensor, int, float)) else {}
    return {key: tensor for part in parts for key, tensor in part.items()}


def difference(first: Path, second: Path, max_iters: int) -> str | None:
    """How the ends of two trainings differ: parameters, optimizer and schedules bit for bit, and the kept files."""
    names = [sorted(path.name for path in work_dir.glob('*.pth')) for work_dir in (first, second)]
    if names[0] != names[1]:
        return f'the kept checkpoints are {names[1]}, not {names[0]}'
    states = []
    for work_dir in (first, second):
        checkpoint = verify_checkpoint(work_dir / f'iter_{max_iters}.pth')
        states.append({key: value for part in ('state_dict', 'optimizer', 'param_schedulers')
                       for key, value in tensors(checkpoint[part], part).items()})
    differing = [key for key in states[0].keys() | states[1].keys()
                 if key not in states[0] or key not in states[1] or not torch.equal(states[0][key], states[1][key])]
    return f'{len(differing)} of {len(states[0])} values differ, as {min(differing)}' if differing else None
