"""Whatever happens while a checkpoint is written: what was there stays, and a resumed run ends where it would have."""
import errno
import io
import multiprocessing
import os
import resource
import signal
from collections import OrderedDict
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import ConfigDict
from mmengine.fileio import BaseStorageBackend, register_backend
from mmengine.fileio.file_client import FileClient
from mmengine.hooks import EMAHook
from mmengine.logging import HistoryBuffer
from mmengine.runner import CheckpointLoader

from mmwhitebox.checkpoints import newest_checkpoint, verify_checkpoint
from mmwhitebox.checkpoints.plain_checkpoint import histories, plain
from mmwhitebox.engine.hooks import checkpoint as checkpoint_hook
from mmwhitebox.errors import CheckpointError, UserError
from tests.test_engine.small import SCORES, continued, files, make_runner, parameters

pytestmark = pytest.mark.usefixtures('quick')

KEPT = dict(max_keep_ckpts=2)
BEST = dict(max_keep_ckpts=2, val=True, save_best='mIoU')


def log_of(work_dir):
    return '\n'.join(path.read_text() for path in sorted(Path(work_dir).glob('*/*.log')))


def checkpoints(work_dir):
    return [name for name in files(work_dir) if name.endswith('.pth')]


def same(first, second):
    return first.keys() == second.keys() and all(torch.equal(first[key], second[key]) for key in first)


@pytest.fixture(scope='module')
def undisturbed(tmp_path_factory):
    folder = tmp_path_factory.mktemp('undisturbed')
    make_runner(folder, **BEST).train()
    return folder


def opened_path(descriptor):
    return os.readlink(f'/proc/self/fd/{descriptor}')


class Disk:
    """Stands before the calls that change files, and before those only: ``decide`` sees (call, path) first."""

    def __init__(self, monkeypatch, decide):
        real = dict(replace=os.replace, fsync=os.fsync, remove=os.remove, unlink=os.unlink)
        write = Path.write_bytes
        monkeypatch.setattr(os, 'replace', lambda a, b: (decide('replace', str(b)), real['replace'](a, b))[1])
        monkeypatch.setattr(os, 'fsync', lambda fd: (decide('fsync', opened_path(fd)), real['fsync'](fd))[1])
        for name in ('remove', 'unlink'):
            monkeypatch.setattr(os, name, lambda path, *args, name=name, **kwargs: (
                decide('remove', str(path)), real[name](path, *args, **kwargs))[1])

        def write_bytes(path, data):
            changed = decide('write', str(path))
            return write(path, data if changed is None else changed(data))

        monkeypatch.setattr(Path, 'write_bytes', write_bytes)


# Drop-in

def test_it_writes_what_mmengine_writes(tmp_path):
    for name in ('CheckpointHook', 'mmwhitebox.AtomicCheckpointHook'):
        make_runner(tmp_path / name, **BEST, type=name, published_keys=['meta', 'state_dict']).train()
    ours, theirs = tmp_path / 'mmwhitebox.AtomicCheckpointHook', tmp_path / 'CheckpointHook'
    names = [[name for name in checkpoints(folder) if '-' not in name] for folder in (ours, theirs)]
    assert names[0] == names[1] == ['best_mIoU_iter_8.pth', 'iter_6.pth', 'iter_8.pth']
    for name in names[0]:
        assert same(parameters(ours, name), parameters(theirs, name))
        first, second = (torch.load(folder / name, weights_only=False) for folder in (ours, theirs))
        assert first.keys() == ({'meta', 'state_dict'} if 'best' in name else second.keys())
        assert first['meta']['iter'] == second['meta']['iter'] and first['meta']['epoch'] == second['meta']['epoch']
    assert (ours / 'last_checkpoint').read_text() == str(ours / 'iter_8.pth')
    published = [name for name in checkpoints(ours) if '-' in name]
    assert len(published) == 2 and set(torch.load(ours / published[0], weights_only=False)) == {'meta', 'state_dict'}


def test_torch_reads_every_checkpoint_with_weights_only(undisturbed):
    for name in checkpoints(undisturbed):
        checkpoint = torch.load(undisturbed / name, weights_only=True)
        assert checkpoint['meta']['iter'] == int(name.split('_')[-1].split('.')[0])
    history = checkpoint['message_hub']['log_scalars']['train/loss']
    assert len(history['logs']) == len(history['counts']) == 8


@pytest.mark.parametrize('writer', ['CheckpointHook', 'mmwhitebox.AtomicCheckpointHook'])
def test_the_histories_of_old_and_new_checkpoints_go_on(tmp_path, writer):
    make_runner(tmp_path, type=writer, max_iters=4).train()
    runner = continued(tmp_path)
    runner.train()
    whole = make_runner(tmp_path / 'whole')
    whole.train()
    assert same(parameters(tmp_path, 'iter_8.pth'), parameters(tmp_path / 'whole', 'iter_8.pth'))
    for key in ('train/loss', 'train/lr'):
        went_on, at_once = (run.message_hub.get_scalar(key) for run in (runner, whole))
        assert went_on.data[0].tolist() == at_once.data[0].tolist() and went_on.max_length == at_once.max_length
        assert went_on.mean(3) == at_once.mean(3)


def test_what_mmengine_and_data_sets_put_into_a_checkpoint_becomes_plain(tmp_path):
    state = OrderedDict(weight=torch.ones(2))
    state._metadata = {'': dict(version=2)}
    given = dict(meta=ConfigDict(classes=('a', 'b'), palette=[np.uint8(3)], table=np.arange(2)), state_dict=state,
                 hub=dict(scalars=OrderedDict(loss=HistoryBuffer([1.5, 2.], [1, 2])), best=np.float64(0.25)))
    torch.save({key: plain(value) for key, value in given.items()}, tmp_path / 'plain.pth')
    read = torch.load(tmp_path / 'plain.pth', weights_only=True)
    assert read['meta'] == dict(classes=('a', 'b'), palette=[3], table=[0, 1])
    assert read['state_dict']._metadata == {'': dict(version=2)} and read['hub']['best'] == 0.25
    back = histories(read['hub']['scalars'])['loss']
    assert back.data[0].tolist() == [1.5, 2.] and back.data[1].tolist() == [1, 2] and back.mean() == 3.5 / 3


def test_epochs_and_plain_options(tmp_path):
    make_runner(tmp_path, by_epoch=True, max_keep_ckpts=1, save_optimizer=False, save_param_scheduler=False,
                filename_tmpl='e{}.pth').train()
    assert checkpoints(tmp_path) == ['e2.pth']
    checkpoint = verify_checkpoint(tmp_path / 'e2.pth')
    assert 'optimizer' not in checkpoint and 'param_schedulers' not in checkpoint
    assert checkpoint['meta']['epoch'] == 2 and checkpoint['meta']['iter'] == 8


def test_the_averaged_weights_are_swapped_in_as_by_mmengine(tmp_path):
    runner = make_runner(tmp_path)
    runner.register_hook(EMAHook(momentum=0.1))
    runner.train()
    checkpoint = verify_checkpoint(tmp_path / 'iter_8.pth')
    averaged = [key for key in checkpoint['ema_state_dict'] if key.endswith('layer.weight')]
    assert len(averaged) == 1
    assert torch.equal(checkpoint['ema_state_dict'][averaged[0]], runner.model.layer.weight)
    assert not torch.equal(checkpoint['state_dict']['layer.weight'], runner.model.layer.weight)
    continued(tmp_path, max_iters=10)


# Failed writes

def deny(call, part):
    def decide(done, path):
        if done == call and part in Path(path).name:
            raise OSError(errno.ENOSPC, 'No space left on device')
    return decide


def spoil(change):
    return lambda done, path: change if done == 'write' and 'iter_4' in path else None


FAILURES = {
    'write': (deny('write', 'iter_4'), 'No space left'),
    'sync': (deny('fsync', '.iter_4'), 'No space left'),
    'rename': (deny('replace', 'iter_4'), 'No space left'),
    'half of it': (spoil(lambda data: data[:len(data) // 2]), 'bytes of the'),
    'one bit': (spoil(lambda data: data[:900] + bytes([data[900] ^ 1]) + data[901:]), 'differs from what was written'),
}


@pytest.mark.parametrize('failure', FAILURES)
def test_a_failed_write_is_a_warning_and_leaves_what_was_there(tmp_path, monkeypatch, failure):
    decide, reason = FAILURES[failure]
    at_four = {}

    def watch(done, path):
        if done == 'write' and '.iter_6' in path:
            at_four.update(files=files(tmp_path), last=(tmp_path / 'last_checkpoint').read_text())
        return decide(done, path)

    with monkeypatch.context() as patch:
        Disk(patch, watch)
        make_runner(tmp_path, **KEPT).train()
    log = log_of(tmp_path)
    assert 'The checkpoint of iteration 4 is not there' in log and reason in log
    assert f'The last valid one is {tmp_path}/iter_2.pth. Training goes on.' in log
    assert [name for name in at_four['files'] if not name.endswith('.py')] == ['iter_2.pth', 'last_checkpoint']
    assert at_four['last'].endswith('iter_2.pth')
    assert checkpoints(tmp_path) == ['iter_6.pth', 'iter_8.pth']
    state = verify_checkpoint(tmp_path / 'iter_6.pth')['message_hub']['runtime_info']
    assert state['keep_ckpt_ids'] == [2, 6] and state['last_ckpt'].endswith('iter_6.pth')


def test_a_checkpoint_that_does_not_load_is_a_failed_one(tmp_path, monkeypatch):
    def cannot(path, **kwargs):
        raise CheckpointError('it is nonsense')

    monkeypatch.setattr('mmwhitebox.engine.verified_backend.safe_load', cannot)
    with pytest.raises(UserError, match='it is nonsense'):
        make_runner(tmp_path).train()
    assert checkpoints(tmp_path) == []


def test_objects_beyond_weights_are_kept_with_a_warning(tmp_path):
    runner = make_runner(tmp_path)
    runner.message_hub.update_info('odd', Fraction(1, 3))
    runner.train()
    assert len(checkpoints(tmp_path)) == 4 and '--resume will need --trust-checkpoint' in log_of(tmp_path)
    assert newest_checkpoint([tmp_path])[0] is None
    assert newest_checkpoint([tmp_path], trust=True)[0] == tmp_path / 'iter_8.pth'


def test_a_pointer_that_cannot_be_written_deletes_nothing(tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        Disk(patch, deny('replace', 'last_checkpoint'))
        with pytest.raises(UserError, match='last_checkpoint'):
            make_runner(tmp_path, max_keep_ckpts=1).train()
    assert checkpoints(tmp_path) == ['iter_2.pth', 'iter_4.pth', 'iter_6.pth', 'iter_8.pth']
    continued(tmp_path, max_keep_ckpts=1, max_iters=10).train()
    assert checkpoints(tmp_path) == ['iter_10.pth']


def test_more_failures_in_a_row_than_allowed_end_the_run(tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        Disk(patch, lambda done, path: deny('write', '.iter')(done, path) if '.iter_2.' not in path else None)
        with pytest.raises(UserError, match='2 checkpoints in a row .* at iteration 6 .*No space left.*'
                           f'The last valid one is {tmp_path}/iter_2.pth') as caught:
            make_runner(tmp_path, **KEPT, max_failures=1).train()
    assert '--resume' in str(caught.value)
    assert checkpoints(tmp_path) == ['iter_2.pth']
    continued(tmp_path, **KEPT).train()
    make_runner(tmp_path / 'undisturbed').train()
    assert same(parameters(tmp_path), parameters(tmp_path / 'undisturbed'))


@pytest.mark.parametrize('stays_full', [False, True])
def test_the_last_checkpoint_is_tried_twice_and_then_an_error(tmp_path, monkeypatch, stays_full):
    tries = []

    def decide(done, path):
        if done == 'write' and '.iter_8' in path:
            tries.append(path)
            if stays_full or len(tries) == 1:
                raise OSError(errno.EDQUOT, 'Disk quota exceeded')

    Disk(monkeypatch, decide)
    if stays_full:
        with pytest.raises(UserError, match='Disk quota exceeded'):
            make_runner(tmp_path).train()
    else:
        make_runner(tmp_path).train()
    assert len(tries) == 2 and ('iter_8.pth' in files(tmp_path)) != stays_full


def test_a_best_checkpoint_that_fails_leaves_the_former_one(tmp_path, monkeypatch):
    Disk(monkeypatch, deny('write', '.best_mIoU_iter_4'))
    make_runner(tmp_path, **{**BEST, 'max_keep_ckpts': -1}).train()
    assert 'The former one is kept' in log_of(tmp_path)
    state = verify_checkpoint(tmp_path / 'iter_6.pth')['message_hub']['runtime_info']
    assert state['best_score'] == SCORES[6] and state['best_ckpt'].endswith('best_mIoU_iter_6.pth')
    assert [name for name in checkpoints(tmp_path) if 'best' in name] == ['best_mIoU_iter_8.pth']


def test_a_first_checkpoint_that_fails_leaves_no_trace_in_the_message_hub(tmp_path, monkeypatch):
    Disk(monkeypatch, deny('write', 'iter_2.pth'))
    runner = make_runner(tmp_path, **BEST, max_iters=3)
    runner.train()
    assert 'There is no earlier one. Training goes on.' in log_of(tmp_path)
    hub = verify_checkpoint(tmp_path / 'iter_3.pth')['message_hub']['runtime_info']
    assert hub['best_score'] == SCORES[3] and hub['keep_ckpt_ids'] == [3]  # 30 at iteration 2 was not saved
    assert checkpoints(tmp_path) == ['best_mIoU_iter_3.pth', 'iter_3.pth']


# Killed runs

class Killed(BaseException):
    pass


def train_and_kill(monkeypatch, folder, at, options):
    """Train, and die before the ``at``-th change of a file; returns the calls made."""
    calls = []

    def decide(done, path):
        if len(calls) >= at:
            raise Killed
        if folder.name in path:
            calls.append((done, path))

    with monkeypatch.context() as patch:
        Disk(patch, decide)
        try:
            make_runner(folder, **options).train()
        except Killed:
            pass
    return calls


def test_killed_before_any_change_of_a_file_it_resumes_to_the_same_end(tmp_path, monkeypatch, undisturbed):
    calls = train_and_kill(monkeypatch, tmp_path / 'all', 10**6, BEST)
    last = next(i for i, (_, path) in enumerate(calls) if '.iter_8' in path)
    assert len(calls) - last > 15 and last > 30
    wanted = torch.load(undisturbed / 'iter_8.pth', weights_only=False)
    newest = 0
    for at in [*range(0, last, 5), *range(last, len(calls))]:
        folder = tmp_path / f'run{at}'
        train_and_kill(monkeypatch, folder, at, BEST)
        for name in checkpoints(folder):
            verify_checkpoint(folder / name)
        path, passed_over = newest_checkpoint([folder])
        assert path is not None or newest == 0, at
        if path is not None:
            assert int(path.stem.split('_')[-1]) >= newest and not passed_over, at
            newest = int(path.stem.split('_')[-1])
        continued(folder, **BEST).train()
        assert checkpoints(folder) == checkpoints(undisturbed), at
        assert not [name for name in files(folder) if name.endswith('.tmp')], at
        assert (folder / 'last_checkpoint').read_text() == str(folder / 'iter_8.pth'), at
        found = torch.load(folder / 'iter_8.pth', weights_only=False)
        assert same(found['state_dict'], wanted['state_dict']), at
        hub, expected = (state['message_hub']['runtime_info'] for state in (found, wanted))
        assert hub['best_score'] == expected['best_score'] == 60, at
        assert hub['best_ckpt'] == str(folder / 'best_mIoU_iter_8.pth') and hub['keep_ckpt_ids'] == [6, 8], at


def in_child(work, folder):
    """Run ``work(folder)`` in a process of its own; forked it starts at once, with a GPU torch's autograd has threads.

    Returns its exit code, or minus the signal that ended it.
    """
    way = 'spawn' if torch.cuda.is_available() else 'fork'
    child = multiprocessing.get_context(way).Process(target=work, args=(folder, ))
    child.start()
    child.join()
    return child.exitcode


def killed_inside_a_write(folder):
    Disk(pytest.MonkeyPatch(), lambda done, path: os.kill(os.getpid(), signal.SIGKILL)
         if done == 'replace' and path.endswith('iter_6.pth') else None)
    make_runner(folder, **BEST).train()


def test_sigkill_inside_a_write(tmp_path, undisturbed):
    assert in_child(killed_inside_a_write, tmp_path) == -signal.SIGKILL
    assert len([name for name in files(tmp_path) if name.endswith('.tmp')]) == 1  # inside the write indeed
    assert newest_checkpoint([tmp_path]) == (tmp_path / 'iter_4.pth', [])
    continued(tmp_path, **BEST).train()
    assert checkpoints(tmp_path) == checkpoints(undisturbed)
    assert not [name for name in files(tmp_path) if name.endswith('.tmp')]
    assert same(parameters(tmp_path), parameters(undisturbed))


def limited_in_file_size(folder):
    resource.setrlimit(resource.RLIMIT_FSIZE, (3000, resource.RLIM_INFINITY))
    try:
        make_runner(folder, max_failures=2).train()
    except UserError as error:
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        (folder / 'message').write_text(str(error))


@pytest.mark.slow
def test_a_limit_on_file_size_is_met_with_a_message(tmp_path):
    assert in_child(limited_in_file_size, tmp_path) == 0
    assert 'File too large' in (tmp_path / 'message').read_text()
    assert checkpoints(tmp_path) == [] and not [name for name in files(tmp_path) if name.endswith('.tmp')]


# The choice of --resume

def damage(path, how):
    data = bytearray(path.read_bytes())
    if how == 'truncated':
        del data[len(data) // 2:]
    elif how == 'empty':
        data.clear()
    else:
        where = data.index(torch.load(path, weights_only=False)['state_dict']['layer.weight'].numpy().tobytes())
        data[where] ^= 1
    path.write_bytes(bytes(data))


@pytest.mark.parametrize('how, words', [('truncated', 'truncated'), ('empty', '0 bytes'), ('one bit', 'checksum')])
def test_the_newest_that_verifies_is_chosen(tmp_path, how, words):
    make_runner(tmp_path).train()
    damage(tmp_path / 'iter_8.pth', how)
    path, lines = newest_checkpoint([tmp_path])
    assert path == tmp_path / 'iter_6.pth'
    assert len(lines) == 1 and 'iter_8.pth' in lines[0] and words in lines[0]
    continued(tmp_path).train()
    assert newest_checkpoint([tmp_path]) == (tmp_path / 'iter_8.pth', [])


def test_names_do_not_matter_and_weights_alone_are_no_choice(tmp_path):
    make_runner(tmp_path, **BEST).train()
    (tmp_path / 'iter_8.pth').rename(tmp_path / 'interrupted.pth')
    assert newest_checkpoint([tmp_path]) == (tmp_path / 'interrupted.pth', [])
    (tmp_path / 'interrupted.pth').unlink()
    path, lines = newest_checkpoint([tmp_path])
    assert path == tmp_path / 'iter_6.pth' and 'best_mIoU_iter_8.pth was skipped' in lines[0]
    assert newest_checkpoint([tmp_path], needs_optimizer=False)[0] == tmp_path / 'iter_6.pth'


def test_a_leftover_of_an_earlier_training_is_no_progress(tmp_path):
    make_runner(tmp_path, max_iters=4).train()
    old = torch.load(tmp_path / 'iter_4.pth', weights_only=False)
    old['meta'].update(iter=160000, time='20200101_000000')
    torch.save(old, tmp_path / 'iter_160000.pth')
    path, lines = newest_checkpoint([tmp_path])
    assert path == tmp_path / 'iter_4.pth' and 'left by an earlier training' in lines[0]


def test_nothing_verifies(tmp_path):
    assert newest_checkpoint([tmp_path]) == (None, [])
    make_runner(tmp_path, max_iters=2).train()
    damage(tmp_path / 'iter_2.pth', 'truncated')
    path, lines = newest_checkpoint([tmp_path])
    assert path is None and 'iter_2.pth' in lines[0]


def test_mmengines_own_choice_still_works(tmp_path):
    make_runner(tmp_path, max_iters=4).train()
    runner = make_runner(tmp_path)
    runner._resume = True  # without load_from: what last_checkpoint names
    runner.train()
    assert checkpoints(tmp_path) == ['iter_2.pth', 'iter_4.pth', 'iter_6.pth', 'iter_8.pth']
    make_runner(tmp_path / 'undisturbed').train()
    assert same(parameters(tmp_path), parameters(tmp_path / 'undisturbed'))


def test_ranks_that_see_different_files_stop(tmp_path, monkeypatch):
    make_runner(tmp_path, max_iters=4).train()
    runner = make_runner(tmp_path, resume=tmp_path / 'iter_4.pth')
    monkeypatch.setattr(checkpoint_hook, 'all_gather_object', lambda own: [own, str(tmp_path / 'iter_2.pth')])
    with pytest.raises(UserError, match='different checkpoints: .*iter_2.pth, .*iter_4.pth'):
        runner.train()


# Other storage

class Bucket(BaseStorageBackend):
    """Object storage in memory; ``spoiled`` names objects that are stored badly."""
    objects, spoiled = {}, ''

    def get(self, filepath):
        return self.objects[filepath]

    def get_text(self, filepath, encoding='utf-8'):
        return self.get(filepath).decode(encoding)

    def put(self, obj, filepath):
        self.objects[filepath] = obj[:-1] if self.spoiled and self.spoiled in filepath else obj

    def join_path(self, filepath, *filepaths):
        return '/'.join([filepath, *filepaths])

    def isfile(self, filepath):
        return filepath in self.objects

    def isdir(self, filepath):
        return False

    def remove(self, filepath):
        del self.objects[filepath]


@pytest.fixture
def bucket(monkeypatch):
    register_backend('bucket', Bucket, force=True, prefixes='bucket')
    FileClient.register_backend('bucket', Bucket, force=True, prefixes='bucket')
    monkeypatch.setattr(CheckpointLoader, '_schemes', dict(CheckpointLoader._schemes))
    CheckpointLoader.register_scheme('bucket://', lambda path, map_location: torch.load(
        io.BytesIO(Bucket.objects[path]), weights_only=False), force=True)
    Bucket.objects.clear()
    return Bucket


def test_remote_storage_is_read_back(tmp_path, bucket, monkeypatch):
    monkeypatch.setattr(bucket, 'spoiled', 'iter_4')
    make_runner(tmp_path / 'job', **KEPT, out_dir='bucket://b').train()
    assert 'iteration 4 is not there: bucket://b/job/iter_4.pth reads back differently' in log_of(tmp_path / 'job')
    assert sorted(bucket.objects) == ['bucket://b/job/iter_6.pth', 'bucket://b/job/iter_8.pth']
    assert (tmp_path / 'job' / 'last_checkpoint').read_text() == 'bucket://b/job/iter_8.pth'
    make_runner(tmp_path / 'job', resume='bucket://b/job/iter_8.pth', max_iters=10, **KEPT,
                out_dir='bucket://b').train()
    assert sorted(bucket.objects) == ['bucket://b/job/iter_10.pth', 'bucket://b/job/iter_8.pth']
