"""Two processes, of which one is killed or fails: the job ends soon, says why, and resumes to the same end."""
import os
import signal
import time

import pytest

from .job import CONFIG, Job, difference, inspect, resumed

pytestmark = pytest.mark.stress
MINUTE = 60.
REASON = 'a failure made on purpose'
RAISING = f"""
from mmengine.hooks import Hook
from mmengine.registry import HOOKS


@HOOKS.register_module()
class RaiseOnRankOne(Hook):
    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        if runner.rank == 1 and runner.iter + 1 == AT:
            raise RuntimeError('{REASON}')
"""


def ends_soon(job):
    """Wait for the end of a job that lost a process; it must come within a minute and be a failure."""
    begin = time.monotonic()
    assert job.end(limit=3 * MINUTE) != 0 and time.monotonic() - begin < MINUTE, job.output
    return job.text()


def test_a_process_of_two_dies(setting):
    """Rank 1 is killed, then raises; each time the job ends with the reason, and resumed it ends as if undisturbed."""
    reference, work_dir = setting.scratch / 'two', setting.scratch / 'two_disturbed'
    resumed(setting, reference, resume=False, processes=2)
    job = Job(setting, work_dir, processes=2)
    job.wait_for_iteration(setting.max_iters // 4)
    os.kill(job.ranks()[1], signal.SIGKILL)
    text = ends_soon(job)
    assert any(words in text for words in ('SIGKILL', 'Signal 9', 'exitcode: -9')), job.output
    assert not inspect(work_dir).damaged
    at = setting.max_iters * 3 // 4
    (setting.scratch / 'raising.py').write_text(RAISING.replace('AT', str(at)))
    config = setting.scratch / 'with_raising.py'
    config.write_text(f"_base_ = '{CONFIG}'\ncustom_imports = dict(imports=['raising'])\n"
                      "custom_hooks = [dict(type='RaiseOnRankOne')]\n")
    job = Job(setting, work_dir, processes=2, resume=True, config=config, env=dict(PYTHONPATH=str(setting.scratch)))
    job.wait_until(lambda: REASON in job.text() or job.iteration() >= at)
    text = ends_soon(job)
    assert f'RuntimeError: {REASON}' in text and 'Traceback' in text, job.output
    assert not inspect(work_dir).damaged
    resumed(setting, work_dir, processes=2)
    assert difference(reference, work_dir, setting.max_iters) is None
