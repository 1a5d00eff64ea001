"""One training at a time in a work dir: who is refused, whose lock is taken over, and exactly one winner."""
import json
import multiprocessing
import os
import signal
import threading
import time

import pytest
from mmengine.config import Config

from mmwhitebox.cli.main import main
from mmwhitebox.engine import work_dir
from mmwhitebox.engine.work_dir import NAME, WorkDirLock, identity, lock_work_dir
from mmwhitebox.errors import UserError, WriteError

fork = multiprocessing.get_context('fork')


@pytest.fixture(autouse=True)
def fast(monkeypatch):
    """Seconds become fractions of one."""
    monkeypatch.setattr(work_dir, 'BEAT', 0.05)
    monkeypatch.setattr(work_dir, 'STALE', 0.6)
    monkeypatch.setattr(work_dir, 'POLL', 0.01)


def leave(folder, age=0., **changes):
    """Write the lock of another process."""
    path = folder / NAME
    path.write_text(json.dumps({**identity(), **changes}))
    os.utime(path, (time.time() - age,) * 2)
    return path


def seconds(lock):
    """How long it takes to get a lock, which is given back."""
    start = time.monotonic()
    with lock:
        assert lock.is_own()
    return time.monotonic() - start


ELSEWHERE = dict(host='node7', machine='node7 boot pid', process=1234)


def test_the_second_is_refused_in_one_line(tmp_path):
    with WorkDirLock(tmp_path):
        with pytest.raises(UserError) as caught:
            WorkDirLock(tmp_path).acquire()
        message = str(caught.value)
        assert '\n' not in message and f'process {os.getpid()}, since 20' in message and str(tmp_path / NAME) in message
        assert '--work-dir' in message
    assert os.listdir(tmp_path) == []
    assert seconds(WorkDirLock(tmp_path)) < 0.5


@pytest.mark.parametrize('error', [UserError, SystemExit, KeyboardInterrupt])
def test_it_is_released_however_a_training_ends(tmp_path, error):
    with pytest.raises(error), WorkDirLock(tmp_path):
        raise error
    assert os.listdir(tmp_path) == []


def killed(folder):
    """A process that took the lock and was killed; it is a zombie, nobody has asked for its status."""
    process = fork.Process(target=lambda: (WorkDirLock(folder).acquire(), os.kill(os.getpid(), signal.SIGKILL)))
    process.start()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    return process


def test_after_a_kill_nothing_is_in_the_way(tmp_path):
    for reap in (False, True):
        process = killed(tmp_path)
        if reap:
            process.join()
        assert json.loads((tmp_path / NAME).read_text())['process'] == process.pid
        assert seconds(WorkDirLock(tmp_path)) < 0.5
        process.join()


def test_another_process_of_the_same_number_does_not_count(tmp_path):
    leave(tmp_path, started='1')
    assert seconds(WorkDirLock(tmp_path)) < 0.5
    leave(tmp_path, process=2 ** 40)
    assert seconds(WorkDirLock(tmp_path)) < 0.5


def test_a_lock_from_elsewhere_whose_time_stands_still_is_taken_over(tmp_path):
    leave(tmp_path, age=0.1, **ELSEWHERE)
    assert 0.4 < seconds(WorkDirLock(tmp_path)) < 2.
    leave(tmp_path, age=10., **ELSEWHERE)
    assert seconds(WorkDirLock(tmp_path)) < 0.4


def test_a_lock_from_elsewhere_whose_time_moves_is_respected(tmp_path):
    path, done = leave(tmp_path, **ELSEWHERE), threading.Event()
    thread = threading.Thread(target=lambda: [os.utime(path) for _ in iter(lambda: done.wait(0.05), True)])
    thread.start()
    try:
        with pytest.raises(UserError, match='host node7, process 1234'):
            WorkDirLock(tmp_path).acquire()
    finally:
        done.set()
        thread.join()
    assert path.exists()


def test_a_requeued_job_goes_on_at_once_on_another_host(tmp_path, monkeypatch):
    monkeypatch.setenv('SLURM_JOB_ID', '17')
    monkeypatch.setenv('SLURM_RESTART_COUNT', '1')
    leave(tmp_path, **ELSEWHERE, job='17', requeued=0)
    assert seconds(WorkDirLock(tmp_path)) < 0.4
    for other in (dict(job='17', requeued=1), dict(job='16', requeued=0)):  # a second step of the job, another job
        leave(tmp_path, **ELSEWHERE, **other)
        assert seconds(WorkDirLock(tmp_path)) > 0.4


@pytest.mark.parametrize('text', ['', '[]', '{"process": "x"}'])
def test_a_lock_that_says_nothing_is_taken_over_in_the_end(tmp_path, text):
    (tmp_path / NAME).write_text(text)
    assert 0.4 < seconds(WorkDirLock(tmp_path)) < 2.


def compete(folder, barrier, results):
    barrier.wait()
    lock = WorkDirLock(folder)
    try:
        lock.acquire()
        results.put('won')
    except UserError:
        results.put('refused')
    barrier.wait(30)  # the winner holds it until all have their answer


@pytest.mark.parametrize('before, links', [
    ('nothing', True), ('nothing', False), ('dead', True), ('elsewhere', False)])
def test_of_processes_that_start_together_exactly_one_wins(tmp_path, before, links, monkeypatch):
    replace = os.replace
    monkeypatch.setattr(os, 'replace', lambda *paths: (time.sleep(0.05), replace(*paths)))  # others are faster
    if not links:
        def refuse(*_):
            raise PermissionError(1, 'Operation not permitted')

        monkeypatch.setattr(os, 'link', refuse)
    if before == 'dead':
        leave(tmp_path, started='1')
    elif before == 'elsewhere':
        leave(tmp_path, **ELSEWHERE)
    number = 8
    barrier, results = fork.Barrier(number), fork.Queue()
    processes = [fork.Process(target=compete, args=(tmp_path, barrier, results)) for _ in range(number)]
    for process in processes:
        process.start()
    assert sorted(results.get(timeout=20) for _ in processes) == ['refused'] * (number - 1) + ['won']
    for process in processes:
        process.join()
    assert os.listdir(tmp_path) == [NAME]


def test_the_holder_sets_its_time_and_notices_a_loss(tmp_path):
    lost = threading.Event()
    lock = WorkDirLock(tmp_path)
    lock.leave = lost.set
    lock.acquire()
    first = (tmp_path / NAME).stat().st_mtime
    time.sleep(0.3)
    assert (tmp_path / NAME).stat().st_mtime > first and not lost.is_set()
    leave(tmp_path, **ELSEWHERE)
    assert lost.wait(2)
    lock.release()
    assert json.loads((tmp_path / NAME).read_text())['host'] == 'node7'


def test_a_folder_that_takes_no_file(tmp_path):
    with pytest.raises(WriteError, match='cannot be written'):
        WorkDirLock(tmp_path / 'missing').acquire()


def test_the_first_process_holds_it_for_all(tmp_path, monkeypatch):
    for launcher, name in (('pytorch', 'RANK'), ('slurm', 'SLURM_PROCID'), ('mpi', 'OMPI_COMM_WORLD_RANK')):
        for rank in ('0', '1'):
            monkeypatch.setenv(name, rank)
            with lock_work_dir(Config(dict(work_dir=str(tmp_path), launcher=launcher))):
                assert os.listdir(tmp_path) == [NAME] * (rank == '0')
    with lock_work_dir(Config(dict(work_dir=str(tmp_path), launcher='none'))):  # four trainings of one srun
        assert os.listdir(tmp_path) == [NAME]


def test_the_command_refuses(tmp_path, capfd):
    with WorkDirLock(tmp_path):
        with pytest.raises(SystemExit) as left:
            main(['train', 'cbt_decoder/cbt_decoder_mini_ade20k', '--work-dir', str(tmp_path)])
        assert left.value.code.startswith('error: Another training is in') and '\n' not in left.value.code
        assert 'Traceback' not in capfd.readouterr().err
    assert os.listdir(tmp_path) == []
