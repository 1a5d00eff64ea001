"""Signals end a training in order; a process that dies ends the others."""
import os
import signal
import subprocess
import sys
import time
from functools import cache

import pytest
import torch
from mmengine.hooks import Hook
from mmengine.registry import TRANSFORMS
from mmengine.runner import Runner

from mmwhitebox.checkpoints import newest_checkpoint
from mmwhitebox.engine.hooks.stop_signals import STOPPED, TrainingStopped, resume_command
from mmwhitebox.engine.signals import SignalWatch
from tests.configs import ROOT
from tests.test_engine.trainings import make_config, same, train

pytestmark = pytest.mark.usefixtures('quick')
OPTIONS = {'custom_hooks': [dict(type='EMAHook', momentum=0.1)], 'randomness': dict(seed=0),
           'default_hooks.checkpoint.interval': 99}


@pytest.fixture(autouse=True)
def ctrl_c():
    """Python's own SIGINT: tests started in the background of a script inherit one that is ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


class Signal(Hook):
    """Sends this process a signal at a stage of an iteration, or of the validation after it."""

    def __init__(self, stage, iteration, number=signal.SIGTERM):
        self.iteration, self.number = iteration, number
        setattr(self, stage, self.send)

    def send(self, runner, **kwargs):
        if runner.iter == self.iteration:
            os.kill(os.getpid(), self.number)
            time.sleep(0.05)


def interrupted(images, work_dir, hook, by_epoch=False, options=None):
    """A training that stops in order; the checkpoint to go on from."""
    runner = Runner.from_cfg(make_config(images, work_dir, 'seg', by_epoch, options={**OPTIONS, **(options or {})}))
    runner.register_hook(hook)
    handlers = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)]
    with pytest.raises(TrainingStopped) as caught:
        runner.train()
    assert caught.value.code == STOPPED == 75
    assert handlers == [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)]
    path, passed_over = newest_checkpoint([work_dir])
    assert not passed_over and (work_dir / 'last_checkpoint').read_text() == str(path)
    assert f'saved in {path}. Go on with:' in next(work_dir.glob('*/*.log')).read_text()
    return path


def scores(runner):
    """Of all validations, those before a resume included."""
    return runner.message_hub.get_scalar('val/mIoU').data[0].tolist()


@pytest.fixture(scope='module')
def whole(quick, images, tmp_path_factory):
    """Undisturbed trainings, by iterations or by epochs: the last checkpoint, the scores of all validations."""
    @cache
    def trained(by_epoch):
        folder = tmp_path_factory.mktemp('whole')
        run = train(images, folder, by_epoch=by_epoch, options=OPTIONS)
        return folder / f'iter_{11 + by_epoch}.pth', scores(run)
    return trained


@pytest.mark.parametrize('stage, iteration, number, by_epoch, name', [
    ('before_train_iter', 6, signal.SIGTERM, False, 'iter_7.pth'),
    pytest.param('after_train_iter', 6, signal.SIGINT, True, 'iter_7.pth', marks=pytest.mark.slow),
    pytest.param('after_val_iter', 8, signal.SIGUSR1, True, 'iter_8.pth', marks=pytest.mark.slow),
    ('after_val_epoch', 5, signal.SIGTERM, False, 'iter_5.pth'),
])
def test_a_stopped_training_goes_on_as_if_nothing_had_been(images, tmp_path, whole, stage, iteration, number, by_epoch,
                                                           name):
    path = interrupted(images, tmp_path / 'stopped', Signal(stage, iteration, number), by_epoch)
    assert path.name == name
    resumed = train(images, tmp_path / 'resumed', by_epoch=by_epoch, resume=path, options=OPTIONS)
    last, expected = whole(by_epoch)
    assert same(last, tmp_path / 'resumed' / last.name)
    assert scores(resumed) == expected and len(expected) == 3


@pytest.mark.slow
def test_an_average_beside_the_training_stays_there(images, tmp_path):
    """Stopped within a validation after which no checkpoint was due."""
    options = {**OPTIONS, 'custom_hooks': [dict(type='mmwhitebox.BesideEMAHook', momentum=0.2)],
               'train_cfg.val_interval': 4}
    train(images, tmp_path / 'whole', options=options)
    path = interrupted(images, tmp_path / 'stopped', Signal('after_val_iter', 4), options=options)
    assert path.name == 'iter_4.pth'
    train(images, tmp_path / 'resumed', resume=path, options=options)
    assert same(tmp_path / 'whole' / 'iter_11.pth', tmp_path / 'resumed' / 'iter_11.pth')


@pytest.mark.slow
def test_a_run_that_saves_by_epoch_is_saved_within_one(images, tmp_path, whole):
    options = {'default_hooks.checkpoint.by_epoch': True, 'default_hooks.checkpoint.interval': 1,
               'default_hooks.checkpoint.max_keep_ckpts': 2}
    path = interrupted(images, tmp_path / 'stopped', Signal('before_train_iter', 9), by_epoch=True, options=options)
    assert path.name == 'epoch_2_iter_10.pth'
    assert sorted(p.name for p in path.parent.glob('*.pth')) == ['epoch_2.pth', 'epoch_2_iter_10.pth']
    train(images, tmp_path / 'stopped', by_epoch=True, resume=path, options={**OPTIONS, **options})
    assert sorted(p.name for p in path.parent.glob('*.pth')) == ['epoch_2_iter_10.pth', 'epoch_3.pth']
    assert same(whole(True)[0], path.with_name('epoch_3.pth'))


@TRANSFORMS.register_module()
class WaitForever:
    """The seventh batch never comes."""
    read = 0

    def __call__(self, results):
        WaitForever.read += 1
        if WaitForever.read == 6 * 3 + 2:
            signal.setitimer(signal.ITIMER_REAL, 0.2)
            signal.signal(signal.SIGALRM, lambda *_: os.kill(os.getpid(), signal.SIGTERM))
            time.sleep(600)
        return results


def test_a_process_that_waits_for_data_stops_at_once(images, tmp_path):
    cfg = make_config(images, tmp_path, options=OPTIONS)
    pipeline = [dict(type='WaitForever'), *cfg.train_dataloader.dataset.pipeline]
    start = time.monotonic()
    path = interrupted(images, tmp_path, Hook(), options={'train_dataloader.dataset.pipeline': pipeline})
    assert path.name == 'iter_6.pth' and time.monotonic() - start < 60


class SignalWorkers(Hook):
    """Sends the data-loader workers what a terminal or a scheduler sends to every process of a group."""

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        if runner.iter == 2:
            self.pids = [worker.pid for worker in runner.train_loop.dataloader._iterator._workers]
            for pid in self.pids:
                for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1):
                    os.kill(pid, number)


def test_workers_live_as_long_as_the_training(images, tmp_path):
    hook = SignalWorkers()
    cfg = make_config(images, tmp_path, workers=2, options={**OPTIONS, 'train_cfg.val_interval': 99})
    runner = Runner.from_cfg(cfg)
    runner.register_hook(hook)
    runner.train()
    assert runner.iter == 11 and len(hook.pids) == 2
    workers = runner.train_loop.dataloader._iterator._workers
    for worker in workers:
        worker.terminate()
        worker.join(10)
        assert not worker.is_alive()


@pytest.mark.slow
def test_turned_off_the_signals_are_those_of_the_process(images, tmp_path):
    class Look(Hook):
        def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
            self.handler = signal.getsignal(signal.SIGTERM)

    look, handler = Look(), signal.getsignal(signal.SIGTERM)
    runner = Runner.from_cfg(make_config(images, tmp_path, options={
        **OPTIONS, 'default_hooks.stop_on_signal.signals': [], 'train_cfg.max_iters': 1, 'train_cfg.val_interval': 99}))
    runner.register_hook(look)
    runner.train()
    assert look.handler is handler


def test_a_forked_child_does_not_answer_for_its_parent():
    with SignalWatch([signal.SIGTERM], lambda number: None, lambda *_: None) as watch:
        pid = os.fork()
        if pid == 0:
            time.sleep(30)
            os._exit(0)
        time.sleep(0.2)
        os.kill(pid, signal.SIGTERM)
        assert os.waitpid(pid, 0)[1] == signal.SIGTERM
        time.sleep(0.2)
        assert watch.received is None


def test_an_ignored_signal_stays_ignored():
    before = signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    try:
        with SignalWatch([signal.SIGUSR1], lambda number: None, lambda *_: None) as watch:
            os.kill(os.getpid(), signal.SIGUSR1)
            time.sleep(0.2)
            assert watch.received is None
    finally:
        signal.signal(signal.SIGUSR1, before)


@pytest.mark.parametrize('argv, launcher, processes, command', [
    (['tools/train.py', 'a.py'], 'none', 1, 'python tools/train.py a.py --resume'),
    (['tools/train.py', 'a b.py', '--resume', 'x.pth', '--amp'], 'none', 1,
     "python tools/train.py 'a b.py' --amp --resume"),
    (['/r/tools/train.py', 'a.py', '--launcher', 'pytorch', '--resume', '--amp'], 'pytorch', 4,
     'bash /r/tools/dist_train.sh a.py 4 --amp --resume'),
    (['/bin/mmwhitebox', 'train', 'a', '--resume'], 'none', 1, 'mmwhitebox train a --resume'),
    (['/x/mmwhitebox/__main__.py', 'train', 'a', '--launcher', 'pytorch'], 'pytorch', 4,
     'torchrun --nproc_per_node=4 -m mmwhitebox train a --launcher pytorch --resume'),
    (['mine.py'], 'none', 1, 'the same program with resume=True'),
])
def test_the_command_to_go_on_with(argv, launcher, processes, command):
    assert resume_command(argv, launcher, processes) == command


# Whole processes

STUCK = f"""
import hashlib, runpy, signal
SignalWatch = runpy.run_path('{ROOT}/mmwhitebox/engine/signals.py')['SignalWatch']

with SignalWatch([signal.SIGTERM], lambda number: print(number.name, flush=True), lambda *_: None):
    print('ready', flush=True)
    hashlib.pbkdf2_hmac('sha256', b'x', b'y', 10**9)  # minutes in C, which no signal interrupts
"""


SAVES = f"""
import runpy, signal, time
SignalWatch = runpy.run_path('{ROOT}/mmwhitebox/engine/signals.py')['SignalWatch']

with SignalWatch([signal.SIGTERM], lambda number: None, lambda *_: None) as watch:
    print('ready', flush=True)
    while watch.received is None:
        time.sleep(0.1)
    time.sleep(1.5)
    print('saved', flush=True)
"""


RANKS = """
import os, time
if os.environ['RANK'] == '1':
    raise ValueError('rank one has had enough')
time.sleep(600)
"""


def launch(command, **env):
    return subprocess.Popen([str(part) for part in command], text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                            env={**os.environ, 'OMP_NUM_THREADS': '1', 'PYTHONWARNINGS': 'ignore',
                                           'PYTHONPATH': str(ROOT), 'PYTHON': sys.executable, **env})


def wait_for(path, process, seconds=120):
    deadline = time.monotonic() + seconds
    while not path.exists():
        assert process.poll() is None and time.monotonic() < deadline, process.communicate()
        time.sleep(0.1)


CUSTOM = """
import os, time
from pathlib import Path
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from tests.test_engine import trainings

@HOOKS.register_module()
class Tell(Hook):
    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        time.sleep(0.1)
        if runner.iter == 2:
            Path(runner.work_dir, f'pid{runner.rank}').write_text(str(os.getpid()))
        if runner.iter == 4 and runner.rank == 1 and 'FAIL' in os.environ:
            raise ValueError('rank one has had enough')
"""


@pytest.fixture
def written(images, tmp_path):
    """A long training as a config file."""
    (tmp_path / 'tell.py').write_text(CUSTOM)
    cfg = make_config(images, tmp_path / 'work', options={
        'custom_imports': dict(imports=['tell']), 'custom_hooks': [dict(type='Tell')], 'train_cfg.max_iters': 1000,
        'train_cfg.val_interval': 1000, 'randomness': dict(seed=0), 'default_hooks.checkpoint.interval': 1000})
    cfg.dump(tmp_path / 'config.py')
    return tmp_path


def start(folder, *arguments, **env):
    """tools/dist_train.sh with two processes, or tools/train.py, until the third iteration."""
    processes = 2 if 'PORT' in env else 1
    command = ['bash', ROOT / 'tools/dist_train.sh', folder / 'config.py', 2] if processes == 2 else \
        [sys.executable, ROOT / 'tools/train.py', folder / 'config.py']
    process = launch(command, PYTHONPATH=f'{ROOT}:{folder}', **env)
    for rank in range(processes):
        wait_for(folder / 'work' / f'pid{rank}', process)
    return process


def test_a_second_signal_ends_a_process_that_is_stuck():
    process = launch([sys.executable, '-c', STUCK])
    assert process.stdout.readline() == 'ready\n'
    process.send_signal(signal.SIGTERM)
    assert process.stdout.readline() == 'SIGTERM\n'
    process.send_signal(signal.SIGTERM)  # within the first second: the same signal, sent twice
    time.sleep(1.5)
    assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    _, error = process.communicate(timeout=10)
    assert process.returncode == 128 + signal.SIGTERM and 'SIGTERM again: the training ends at once' in error


@pytest.mark.parametrize('variables, said', [({}, 'saved\n'), (dict(LOCAL_RANK='0'), '')])
def test_a_script_that_gets_the_same_signal_may_end_first(variables, said):
    """A shell ends at once; of a launcher's end it is known that nobody waits for the training."""
    process = launch(['setsid', 'bash', '-c', '"$0" -c "$1"; true', sys.executable, SAVES], **variables)
    assert process.stdout.readline() == 'ready\n'
    os.killpg(process.pid, signal.SIGTERM)
    assert process.stdout.read() == said


def test_the_tool_ends_with_its_status(written):
    process = start(written)
    process.send_signal(signal.SIGUSR1)
    output, error = process.communicate(timeout=60)
    assert process.returncode == STOPPED, error
    assert 'Traceback' not in error
    assert f'Go on with: python {ROOT}/tools/train.py {written}/config.py --resume' in output + error


@pytest.mark.slow
def test_two_processes_stop_after_the_same_iteration(written):
    """The launcher gets the signal, as from a terminal, and hands it on."""
    process = start(written, PORT='29641')
    process.send_signal(signal.SIGINT)
    output, error = process.communicate(timeout=90)
    assert process.returncode == STOPPED, error
    path, _ = newest_checkpoint([written / 'work'])
    assert torch.load(path, weights_only=False)['meta']['iter'] == int(path.stem[5:]) >= 3
    assert f'dist_train.sh {written}/config.py 2 --resume' in output + error


def test_the_launcher_shows_a_process_that_fails_and_ends_the_other(tmp_path):
    (tmp_path / 'ranks.py').write_text(RANKS)
    began = time.monotonic()
    process = launch([sys.executable, ROOT / 'tools/dist_launch.py', '--max-restarts=0', '--nproc_per_node=2',
                      '--master_port=29643', tmp_path / 'ranks.py'])
    _, error = process.communicate(timeout=90)
    assert process.returncode not in (0, STOPPED) and time.monotonic() - began < 60
    assert 'ValueError: rank one has had enough' in error and 'Root Cause' in error and 'raise ValueError' in error


@pytest.mark.slow
def test_a_training_that_fails_ends_the_other_and_is_shown(written):
    process = start(written, PORT='29642', FAIL='1')
    began = time.monotonic()
    _, error = process.communicate(timeout=90)
    assert process.returncode not in (0, STOPPED) and time.monotonic() - began < 60
    assert 'ValueError: rank one has had enough' in error and 'Root Cause' in error and 'raise ValueError' in error
