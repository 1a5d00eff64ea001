"""A training by mmengine's Runner alone is looked at as one by train.py is; hooks that are gone crash nothing."""
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
from mmengine.registry import HOOKS
from mmengine.runner import CheckpointLoader, Runner
from PIL import Image

from mmwhitebox.checkpoints import safe_load
from mmwhitebox.config.consistency import check_consistency
from mmwhitebox.engine.hooks import training_checks
from mmwhitebox.engine.work_dir import NAME
from mmwhitebox.errors import UserError
from mmwhitebox.former_names import FormerName, warn_former
from tests.configs import ROOT
from tests.test_engine.trainings import make_config

pytestmark = pytest.mark.usefixtures('quick')

PLAIN = """
import sys
from mmengine.config import Config
from mmengine.runner import Runner
for path in sys.argv[1:]:
    Runner.from_cfg(Config.fromfile(path)).train()
"""
REORDERED = dict(classes=('y', 'x', 'z'), palette=[[9, 9, 9], [0, 0, 0], [99, 99, 99]])


def test_a_right_one_trains_and_a_wrong_one_is_refused_in_one_line(images, tmp_path):
    """In a process of its own, started elsewhere, which knows of mmwhitebox what the configs say."""
    cfg = make_config(images, tmp_path / 'work', options={'train_cfg.max_iters': 2, 'train_cfg.val_interval': 9})
    cfg.train_dataloader.dataset.pipeline = [
        step for step in cfg.train_dataloader.dataset.pipeline if step['type'] != 'DrawFromAll']
    cfg.dump(tmp_path / 'right.py')
    cfg.merge_from_dict(dict(work_dir=str(tmp_path / 'wrong'), experiment_name='wrong', visualizer=dict(name='wrong')))
    cfg.val_dataloader.dataset.metainfo = REORDERED
    cfg.dump(tmp_path / 'wrong.py')
    done = subprocess.run(
        [sys.executable, '-c', PLAIN, 'right.py', 'wrong.py'], capture_output=True, text=True, timeout=300,
        cwd=tmp_path, env={**os.environ, 'OMP_NUM_THREADS': '1', 'PYTHONPATH': str(ROOT), 'PYTHONWARNINGS': 'ignore'})
    assert (tmp_path / 'work/iter_2.pth').is_file() and not (tmp_path / 'work' / NAME).exists(), done.stderr[-2000:]
    assert not list((tmp_path / 'wrong').glob('*.pth'))

    with pytest.raises(UserError) as expected:
        check_consistency(cfg)
    said = done.stderr[done.stderr.rindex('mmwhitebox.errors.ConfigError: '):].strip()
    assert done.returncode == 1 and said.endswith(str(expected.value).partition('\n')[2].strip())


@pytest.fixture
def own_images(images, tmp_path):
    """A copy of the images to spoil."""
    return shutil.copytree(images, tmp_path / 'images')


def missing_masks(folder):
    shutil.rmtree(folder / 'seg/mask')
    return {}


def one_class(folder):
    for path in (folder / 'seg/mask').iterdir():
        with Image.open(path) as mask:
            Image.fromarray(np.resize(np.array([0, 255], np.uint8), mask.size[::-1])).save(path)
    return {}


@pytest.mark.parametrize('spoil, message', [
    (missing_masks, 'seg/mask does not exist'),
    pytest.param(one_class, 'hold the labels 0, 255 alone', marks=pytest.mark.slow),
    (lambda folder: {'val_dataloader.dataset.metainfo': REORDERED}, 'in another order'),
    (lambda folder: {'model.decode_head.num_classes': 4}, 'num_classes'),
    pytest.param(lambda folder: {'model.decode_head.in_channels': 9}, 'in_channels', marks=pytest.mark.slow),
])
def test_refused_before_the_first_iteration(own_images, tmp_path, monkeypatch, spoil, message):
    options = spoil(own_images)
    monkeypatch.setattr(Runner, 'load_or_resume', lambda self: pytest.fail('it goes on'))
    with pytest.raises(UserError, match=message):
        Runner.from_cfg(make_config(own_images, tmp_path / 'work', options=options)).train()


def runner_at_work(images, work_dir, monkeypatch, **options):
    """A runner whose train loop would be run next."""
    runner = Runner.from_cfg(make_config(images, work_dir, options=options))
    monkeypatch.setattr(Runner, 'load_or_resume', lambda self: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        runner.train()
    return runner


def test_checkpoints_are_read_with_weights_only(images, tmp_path, monkeypatch):
    monkeypatch.setattr(CheckpointLoader, '_schemes', dict(CheckpointLoader._schemes))
    CheckpointLoader.register_scheme('', dict, force=True)
    runner_at_work(images, tmp_path, monkeypatch, **{'default_hooks.training_checks.trust_checkpoint': True})
    assert CheckpointLoader._schemes[''] is dict
    runner_at_work(images, tmp_path, monkeypatch)
    assert CheckpointLoader._schemes[''] is safe_load


@pytest.mark.slow
def test_what_train_py_has_checked_is_not_checked_again(images, tmp_path, monkeypatch):
    asked = []
    for name in ('check_config', 'check_whole', 'use_safe_loading'):
        monkeypatch.setattr(training_checks, name, lambda *_, name=name: asked.append(name))
    with training_checks.checked():
        runner_at_work(images, tmp_path, monkeypatch)
    assert not asked
    runner_at_work(images, tmp_path, monkeypatch, **{'default_hooks.training_checks.enabled': False})
    assert not asked
    runner_at_work(images, tmp_path, monkeypatch)
    assert asked == ['use_safe_loading', 'check_config', 'check_whole']


def test_the_lock_is_held_while_the_loop_runs_alone(images, tmp_path, monkeypatch):
    runner = runner_at_work(images, tmp_path, monkeypatch, **{'train_cfg.max_iters': 1, 'train_cfg.val_interval': 9})
    assert not (tmp_path / NAME).exists()
    seen = []
    monkeypatch.setattr(runner, 'call_hook', lambda name, **_: seen.append((tmp_path / NAME).exists()))
    runner.train_loop.run()
    assert seen and all(seen) and not (tmp_path / NAME).exists()


def test_a_hook_that_is_gone_says_so_and_does_nothing(images, tmp_path):
    cfg = make_config(images, tmp_path, options={
        'default_hooks.onednn': dict(type='mmwhitebox.OneDNNHook', enabled='auto')})
    warn_former.cache_clear()
    with pytest.warns(FormerName, match='mmwhitebox.OneDNNHook does nothing any more'):
        runner = Runner.from_cfg(cfg)
    hook = next(hook for hook in runner.hooks if type(hook).__name__ == 'OneDNNHook')
    assert not hook.get_triggered_stages() and isinstance(hook, HOOKS.get('mmwhitebox.OneDNNHook'))
