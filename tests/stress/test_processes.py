"""Two processes, of which one is killed or fails: the job ends soon, says why, and resumes to the same end."""
import os
import signal
import time

from .board import Board
from .job import CONFIG, Job, Setting, difference, inspect

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


def killed_rank(job: Job, at: int) -> list[str]:
    """SIGKILL for rank 1 after iteration ``at``."""
    job.wait_for_iteration(at)
    os.kill(job.ranks()[1], signal.SIGKILL)
    begin = time.monotonic()
    code = job.end(limit=3 * MINUTE)
    seconds = time.monotonic() - begin
    problems = [f'killed rank: the job took {seconds:.0f} s to end'] if seconds > MINUTE else []
    if code == 0 or not any(words in job.text() for words in ('SIGKILL', 'Signal 9', 'exitcode: -9')):
        problems.append(f'killed rank: ended with {code} without saying that rank 1 was killed, see {job.output}')
    return problems


def raising_rank(job: Job, at: int) -> list[str]:
    """Rank 1 raises after iteration ``at``."""
    job.wait_until(lambda: REASON in job.text() or job.iteration() >= at)
    begin = time.monotonic()
    code = job.end(limit=3 * MINUTE)
    seconds = time.monotonic() - begin
    problems = [f'raising rank: the job took {seconds:.0f} s to end'] if seconds > MINUTE else []
    text = job.text()
    if code == 0 or f'RuntimeError: {REASON}' not in text or 'Traceback' not in text:
        problems.append(f'raising rank: ended with {code} without its traceback, see {job.output}')
    return problems


def trial(setting: Setting, board: Board) -> None:
    """An undisturbed training on two processes, then one that loses rank 1 twice."""
    reference, work_dir = setting.scratch / 'two', setting.scratch / 'two_disturbed'
    name = 'a process of two dies'
    if Job(setting, reference, processes=2).end() != 0:
        board.add(name, ['the undisturbed training on two processes failed'], '')
        return
    board.step('undisturbed training on two processes: done', count=2)
    problems = killed_rank(Job(setting, work_dir, processes=2), setting.max_iters // 4)
    state = inspect(work_dir)
    board.step(f'rank 1 was killed; newest checkpoint is of iteration {state.newest}', count=2)
    at = setting.max_iters * 3 // 4
    (setting.scratch / 'raising.py').write_text(RAISING.replace('AT', str(at)))
    config = setting.scratch / 'with_raising.py'
    config.write_text(f"_base_ = '{CONFIG}'\ncustom_imports = dict(imports=['raising'])\n"
                      "custom_hooks = [dict(type='RaiseOnRankOne')]\n")
    problems += state.damaged + raising_rank(
        Job(setting, work_dir, processes=2, resume=True, config=config, env=dict(PYTHONPATH=str(setting.scratch))), at)
    problems += inspect(work_dir).damaged
    board.step('rank 1 raised', count=2)
    if Job(setting, work_dir, processes=2, resume=True).end() != 0:
        problems.append('--resume on two processes failed')
    else:
        differs = difference(reference, work_dir, setting.max_iters)
        problems += [differs] if differs else []
    board.step('resumed training on two processes: done', count=2)
    board.add(name, problems, 'rank 1 killed, then raising: each time the job ended within a minute with the reason; '
              'resumed, it ended equal to the undisturbed one')
