"""The stress test in miniature: forked trainings of a second, killed and resumed; and that it fails when it should."""
import multiprocessing
import os
import random
import time

import pytest
import torch
from mmengine.hooks import Hook

from tests.test_engine.small import MAX_ITERS, continued, make_runner

from . import test_kills as kills
from .job import Job, Setting, State, difference, inspect

OPTIONS = dict(val=True, save_best='mIoU', max_keep_ckpts=3)


class Slow(Hook):
    def before_train_iter(self, runner, batch_idx, data_batch=None):
        time.sleep(0.05)


class Process:
    """A forked process with the part of Popen's interface that a Job uses."""

    def __init__(self, work):
        self.child = multiprocessing.get_context('fork').Process(target=work)
        self.child.start()
        self.pid = self.child.pid

    def poll(self):
        return self.child.exitcode

    @property
    def returncode(self):
        return self.child.exitcode

    def wait(self):
        self.child.join()


class ForkedJob(Job):
    """The small training in a fork of this process: no imports to wait for."""
    hook = 'mmwhitebox.AtomicCheckpointHook'

    def __init__(self, setting, work_dir, resume=False):
        self.work_dir, self.output = work_dir, setting.scratch / 'log'
        work_dir.mkdir(exist_ok=True)
        self.process = Process(self.train)

    def train(self):
        torch.set_num_threads(1)
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, 1), os.dup2(null, 2)
        runner = continued(self.work_dir, **OPTIONS, type=self.hook)
        runner.register_hook(Slow())
        runner.train()

    def iteration(self):
        return max((int(path.stem.split('_')[1]) for path in self.work_dir.glob('iter_*.pth')), default=0)


@pytest.fixture
def small(tmp_path, monkeypatch):
    monkeypatch.setattr(kills, 'Job', ForkedJob)
    monkeypatch.setattr(kills, 'LONGEST', 0.3)
    monkeypatch.setattr(kills, 'IMPORTS', 0.1)
    make_runner(tmp_path / 'undisturbed', **OPTIONS).train()
    return Setting(tmp_path, MAX_ITERS)


def test_killed_trainings_end_as_the_undisturbed_one(small, capsys):
    assert not kills.problems_of(small, small.scratch / 'undisturbed', 5, random.Random(0))
    assert 'kill 5 of 5' in capsys.readouterr().out


def test_another_end_is_a_failure(small):
    make_runner(small.scratch / 'other', **OPTIONS).train()
    path = small.scratch / 'undisturbed' / f'iter_{MAX_ITERS}.pth'
    assert difference(small.scratch / 'undisturbed', small.scratch / 'other', MAX_ITERS) is None
    checkpoint = torch.load(path, weights_only=False)
    checkpoint['optimizer']['state'][0]['momentum_buffer'].view(-1)[0] *= 1 + 1e-6
    torch.save(checkpoint, path)
    assert '1 of' in difference(small.scratch / 'undisturbed', small.scratch / 'other', MAX_ITERS)
    (small.scratch / 'other' / 'iter_6.pth').unlink()
    assert 'kept checkpoints' in difference(small.scratch / 'undisturbed', small.scratch / 'other', MAX_ITERS)
    problems = kills.problems_of(small, small.scratch / 'undisturbed', 1, random.Random(0))
    assert any('values differ' in problem for problem in problems)


def test_a_lost_or_damaged_checkpoint_is_a_failure(small):
    work_dir = small.scratch / 'undisturbed'
    before = inspect(work_dir)
    assert before == State([], 4, MAX_ITERS, False)
    assert kills.judge(before, before, 1) == []
    newest = work_dir / f'iter_{MAX_ITERS}.pth'
    newest.write_bytes(newest.read_bytes()[:-2000])
    (work_dir / f'.iter_{MAX_ITERS}.pth.12.tmp').touch()
    after = inspect(work_dir)
    assert after.newest == 6 and after.valid == 3 and after.inside_write
    problems = kills.judge(before, after, 1)
    assert len(problems) == 2 and 'iter_8.pth' in problems[0] and 'from iteration 8 to 6' in problems[1]
    for path in list(work_dir.glob('*.pth'))[1:]:
        path.unlink()
    assert any('checkpoints of 4 are left' in text for text in kills.judge(before, inspect(work_dir), 2))
