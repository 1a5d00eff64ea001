"""The stress test in miniature: forked trainings of a second, killed and resumed; and that it fails when it should."""
import multiprocessing
import os
import random
import sys
import time

import pytest
import torch
from mmengine.hooks import Hook

from tests.configs import ROOT
from tests.test_engine.small import MAX_ITERS, continued, make_runner

sys.path.insert(0, str(ROOT / 'tools'))
from trials import kills  # noqa: E402
from trials.board import Board  # noqa: E402
from trials.job import Job, Setting, State, difference, inspect  # noqa: E402

sys.path.remove(str(ROOT / 'tools'))

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


def test_killed_trainings_end_as_the_undisturbed_one(small):
    board = Board(6)
    kills.trial(small, board, small.scratch / 'undisturbed', 5, random.Random(0))
    assert [result.status for result in board.results] == ['PASS'], board.table()
    assert board.results[0].detail.startswith('5 kills') and not board.failed


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
    board = Board(1)
    kills.trial(small, board, small.scratch / 'undisturbed', 1, random.Random(0))
    assert board.failed and 'values differ' in board.table()


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


def test_the_table_names_what_failed():
    board = Board(2)
    board.step('first')
    board.add('good', [], 'all well')
    assert not board.failed
    board.add('bad', ['it broke', 'twice'], 'all well')
    board.skip('odd', 'no root')
    lines = board.table(7).splitlines()
    assert board.failed and len(lines) == 6
    assert lines[1].startswith('PASS  good') and lines[2].endswith('it broke; twice')
    assert lines[3].startswith('SKIP  odd')
    assert lines[-1].startswith('1 FAIL, 1 PASS, 1 SKIP') and lines[-1].endswith('seed 7')
