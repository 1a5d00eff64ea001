"""SIGTERM, SIGINT and SIGUSR1: the training saves, leaves with its own exit code, and resumes to the same end."""
import os
import signal
import time

import pytest

from mmwhitebox.engine.hooks.stop_signals import STOPPED

from .job import Job, difference, inspect, resumed

pytestmark = pytest.mark.stress
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)


def test_a_signal_stops_after_a_checkpoint(setting, reference, rng):
    """One training, stopped by each signal in turn and resumed."""
    work_dir = setting.scratch / 'stopped'
    for number, name in enumerate(SIGNALS):
        job = Job(setting, work_dir, resume=number > 0)
        assert job.wait_for_iteration(), f'{name.name}: the training ended before the signal, see {job.output}'
        time.sleep(rng.uniform(0, 2))
        last = job.iteration()
        os.kill(job.process.pid, name)
        assert job.end(limit=120) == STOPPED, f'{name.name}: see {job.output}'
        state = inspect(work_dir)
        assert state.newest >= last and not state.damaged, name.name
    resumed(setting, work_dir)
    assert difference(reference, work_dir, setting.max_iters) is None
