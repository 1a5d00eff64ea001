"""The commands as a user types them: train, resume, evaluate, segment, in this process; and on two."""
import contextlib
import io
import json
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from mmengine.logging import MMLogger
from PIL import Image

from examples.miniature import make_mini_ade20k
from mmwhitebox.cli.main import main
from tests.configs import ROOT

CHILD = f"""
_base_ = '{ROOT}/configs/cbt_decoder/cbt_decoder_mini_ade20k.py'
model = dict(decode_head=dict(num_layers=1, attention=dict(_delete_=True, type='MSSA', num_heads=3)))
train_cfg = dict(max_iters=4, val_interval=2)
"""
OPTIONS = ['default_hooks.checkpoint.interval=2', 'model.backbone.model_kwargs.depth=1',
           'train_dataloader.batch_size=2', 'default_hooks.logger.interval=1']
NO_WORKERS = [f'{split}_dataloader.{key}' for split in ('train', 'val', 'test')
              for key in ('num_workers=0', 'persistent_workers=False')]

# Notes a fingerprint of all parameters on every rank after training.
RANK_HOOK = """
import os
from pathlib import Path
import torch
from mmengine.hooks import Hook
from mmengine.registry import HOOKS

@HOOKS.register_module()
class NoteParameters(Hook):
    def after_train(self, runner):
        flat = torch.cat([p.detach().flatten() for p in runner.model.parameters()])
        torch.save(flat, Path(runner.work_dir) / f'rank{runner.rank}_of_{runner.world_size}.pt')
"""


def run(*command, cwd=ROOT, **env):
    return subprocess.run([str(part) for part in command], cwd=cwd, text=True, capture_output=True, timeout=300,
                          env={**os.environ, 'OMP_NUM_THREADS': '1', 'PYTHONWARNINGS': 'ignore', **env})


def tool(name, *args, **env):
    return run(sys.executable, ROOT / 'tools' / name, *args, **env)


def typed(*words, **env):
    """Run ``mmwhitebox ...`` in this process; its status, and what it says."""
    code, out, err = 0, io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        patch.setattr('mmengine.runner.runner.collect_env', dict)
        patch.setattr(MMLogger, '_instance_dict', type(MMLogger._instance_dict)())  # as in a fresh process
        for name, value in env.items():
            patch.setenv(name, value)
        try:
            main([str(word) for word in words])
        except SystemExit as ended:
            code = ended.code or 0
    message = '' if isinstance(code, int) else code
    return subprocess.CompletedProcess(words, 1 if message else code, out.getvalue(), err.getvalue() + message)


@pytest.fixture(scope='module')
def job(tmp_path_factory):
    """Mini data, a child config of three lines, and a first training of four iterations."""
    root = tmp_path_factory.mktemp('job')
    make_mini_ade20k.main(['--out', str(root / 'data'), '--train', '6', '--val', '3', '--size', '64'])
    (root / 'child.py').write_text(CHILD)
    env = dict(MINI_ADE20K_ROOT=str(root / 'data'))
    done = typed('train', root / 'child.py', '--work-dir', root / 'work', '--cfg-options', *OPTIONS, **env)
    assert done.returncode == 0, done.stderr
    return root, env, done.stdout


def test_a_child_config_of_three_lines_trains(job):
    root, _, log = job
    assert 'mIoU' in log and 'ADE20KDataset: 6 images with annotations' in log
    state = torch.load(root / 'work' / 'iter_4.pth', weights_only=False)['state_dict']
    assert 'decode_head.layers.0.attn.proj.weight' in state and 'decode_head.layers.1.norm.weight' not in state


def test_resume_continues(job):
    root, env, _ = job
    done = typed('train', root / 'child.py', '--work-dir', root / 'work', '--resume', '--cfg-options', *OPTIONS,
                 *NO_WORKERS, 'train_cfg.max_iters=5', **env)
    assert done.returncode == 0, done.stderr
    assert 'Iter(train) [5/5]' in done.stdout and 'Iter(train) [4/5]' not in done.stdout
    assert (root / 'work' / 'iter_4.pth').is_file()


def test_evaluation_writes_metrics_pictures_and_label_maps(job):
    root, env, _ = job
    done = typed('test', root / 'child.py', root / 'work' / 'iter_4.pth', '--work-dir', root / 'test', '--show-dir',
                 root / 'pictures', '--out', root / 'labels', '--cfg-options', *OPTIONS, *NO_WORKERS, **env)
    assert done.returncode == 0, done.stderr
    metrics = json.loads(next((root / 'test').glob('*/*.json')).read_text())
    assert 0 <= metrics['mIoU'] <= 100
    pictures = sorted((root / 'pictures').glob('*.png'))
    assert len(pictures) == 3 and len(list((root / 'labels').glob('*.png'))) == 3
    picture = np.asarray(Image.open(pictures[0]))
    assert picture.shape[1] > 3 * 0.9 * picture.shape[0]  # three panels and a legend


@pytest.mark.slow
def test_test_time_augmentation(job):
    root, env, _ = job
    done = tool('test.py', root / 'child.py', root / 'work' / 'iter_4.pth', '--work-dir', root / 'tta', '--tta',
                '--cfg-options', *OPTIONS, **env)
    assert done.returncode == 0, done.stderr
    assert 'mIoU' in json.loads(next((root / 'tta').glob('*/*.json')).read_text())


def test_infer_segments_a_folder_and_lists_what_it_skipped(job, tmp_path):
    root, env, _ = job
    photos = tmp_path / 'photos'
    photos.mkdir()
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 256, (40, 60, 3), dtype=np.uint8)).save(photos / 'good.jpg')
    Image.fromarray(rng.integers(0, 256, (40, 60), dtype=np.uint8)).save(photos / 'grey.png')
    (photos / 'broken.jpg').write_bytes((photos / 'good.jpg').read_bytes()[:500])
    done = typed('infer', root / 'child.py', root / 'work' / 'iter_4.pth', photos, '--out', tmp_path / 'out',
                 '--batch-size', 2, '--device', 'cpu', '--cfg-options', *OPTIONS, **env)
    assert done.returncode == 1 and '2 of 3 images segmented' in done.stdout
    assert 'broken.jpg: cannot read this image' in done.stderr and 'Traceback' not in done.stderr
    labels = Image.open(tmp_path / 'out' / 'labels' / 'good.png')
    assert labels.mode == 'P' and labels.size == (60, 40)
    assert labels.getpalette()[:3] == [120, 120, 120]  # ADE20K's colour of 'wall'
    width, height = Image.open(tmp_path / 'out' / 'overlays' / 'grey.jpg').size
    assert width >= 60 and height > 40  # the legend is below


@pytest.mark.slow
def test_two_processes_hold_the_same_parameters(job, tmp_path):
    root, env, _ = job
    (tmp_path / 'rank_hook.py').write_text(RANK_HOOK)
    config = tmp_path / 'two.py'
    config.write_text(CHILD + "custom_imports = dict(imports=['rank_hook'])\n"
                      "custom_hooks = [dict(type='NoteParameters')]\n")
    done = run('bash', ROOT / 'tools' / 'dist_train.sh', config, 2, '--work-dir', tmp_path / 'work',
               '--cfg-options', *OPTIONS, 'train_cfg.max_iters=2',
               PYTHON=sys.executable, PYTHONPATH=str(tmp_path), PORT='29613', **env)
    assert done.returncode == 0, done.stderr
    first, second = (torch.load(tmp_path / 'work' / f'rank{rank}_of_2.pt') for rank in (0, 1))
    assert torch.equal(first, second)
    initial = torch.load(root / 'work' / 'iter_4.pth', weights_only=False)['state_dict']
    assert sum(v.numel() for v in initial.values()) == first.numel()

    evaluated = run('bash', ROOT / 'tools' / 'dist_test.sh', config, tmp_path / 'work' / 'iter_2.pth', 2,
                    '--work-dir', tmp_path / 'test', '--cfg-options', *OPTIONS,
                    PYTHON=sys.executable, PYTHONPATH=str(tmp_path), PORT='29614', **env)
    assert evaluated.returncode == 0, evaluated.stderr
    assert 'mIoU' in evaluated.stdout


@pytest.mark.slow
def test_infer_with_an_exported_model_equals_the_original(job, tmp_path):
    root, env, _ = job
    weights = tmp_path / 'model.safetensors'
    exported = tool('export.py', root / 'child.py', root / 'work' / 'iter_4.pth', '--format', 'safetensors', '--out',
                    weights, '--cfg-options', *OPTIONS, **env)
    assert exported.returncode == 0, exported.stderr
    images = root / 'data' / 'images' / 'validation'
    for name, checkpoint in (('original', root / 'work' / 'iter_4.pth'), ('exported', weights)):
        done = tool('infer.py', root / 'child.py', checkpoint, images, '--out', tmp_path / name, '--device', 'cpu',
                    '--cfg-options', *OPTIONS, **env)
        assert done.returncode == 0, done.stderr
    originals = sorted((tmp_path / 'original' / 'labels').glob('*.png'))
    assert len(originals) == 3
    for path in originals:
        assert np.array_equal(np.asarray(Image.open(path)),
                              np.asarray(Image.open(tmp_path / 'exported' / 'labels' / path.name)))
