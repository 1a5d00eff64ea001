"""Memory at test time: 20 megapixels and 150 classes through the tools, within 2 GiB above the model."""
import json
import os
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from tests.configs import ROOT

HEIGHT, WIDTH = 4000, 5000
BUDGET = 2 * 2**30

# A tiny encoder and one linear layer of 150 classes, on the ADE20K pipeline or without its Resize.
CONFIG = f"""
_base_ = '{ROOT}/configs/segmenter_linear_ade20k.py'
model = dict(
    backbone=dict(model_name='vit_tiny_patch16_384', pretrained=False, drop_path_rate=0.,
                  model_kwargs=dict(embed_dim=24, depth=1, num_heads=2)),
    decode_head=dict(in_channels=24, channels=24))
test_dataloader = dict(num_workers=0, persistent_workers=False)
"""
WITHOUT_RESIZE = """
test_dataloader = dict(dataset=dict(pipeline=[
    dict(type='mmwhitebox.LoadImage'), dict(type='PackSegInputs')]))
"""
WHOLE = "model['test_cfg'] = dict(_delete_=True, mode='whole')\n"

# Runs a tool in this process and writes the peak of its resident memory above that with the model loaded.
MEASURE = """
import json, runpy, sys
from mmengine.runner import Runner
import mmwhitebox.apis as apis

def kilobytes(key):
    with open('/proc/self/status') as file:
        return next(int(line.split()[1]) for line in file if line.startswith(key))

loaded = []

def noting(function, after):
    def run(*args, **kwargs):
        if not after:
            loaded.append(kilobytes('VmRSS'))
        result = function(*args, **kwargs)
        if after:
            loaded.append(kilobytes('VmRSS'))
        return result
    return run

apis.init_model = noting(apis.init_model, after=True)
Runner.test = noting(Runner.test, after=False)
report, sys.argv = sys.argv[1], sys.argv[2:]
try:
    runpy.run_path(sys.argv[0], run_name='__main__')
except SystemExit as end:
    assert not end.code, end.code
with open(report, 'w') as file:
    json.dump(1024 * (kilobytes('VmHWM') - loaded[0]), file)
"""

pytestmark = pytest.mark.skipif(not os.path.exists('/proc/self/status'), reason='peak memory is read from /proc')


def peak(tmp_path, tool, *args, **env) -> int:
    """Bytes that a tool took at most, beyond those it had with the model loaded."""
    (tmp_path / 'measure.py').write_text(MEASURE)
    done = subprocess.run(
        [sys.executable, tmp_path / 'measure.py', tmp_path / 'peak.json', ROOT / 'tools' / tool, *map(str, args)],
        text=True, capture_output=True, timeout=500, cwd=tmp_path,
        env={**os.environ, 'OMP_NUM_THREADS': '1', 'PYTHONWARNINGS': 'ignore', 'PYTHONPATH': str(ROOT), **env})
    assert done.returncode == 0, done.stderr
    return json.loads((tmp_path / 'peak.json').read_text())


@pytest.fixture(scope='module')
def dataset(tmp_path_factory):
    """One picture of 20 megapixels with its annotation in the folders of ADE20K, and weights of the model."""
    import torch
    from mmengine.config import Config

    from mmwhitebox.apis import init_model
    root = tmp_path_factory.mktemp('large')
    y, x = np.ogrid[:HEIGHT, :WIDTH]
    image = np.stack(np.broadcast_arrays(x // 20 % 256, y // 16 % 256, (x + y) // 36 % 256), 2).astype(np.uint8)
    for part, pixels in (('images', image), ('annotations', (y // 64 + x // 64).astype(np.uint8) % 151)):
        (root / part / 'validation').mkdir(parents=True)
        suffix = dict(images='jpg', annotations='png')[part]
        Image.fromarray(pixels).save(root / part / 'validation' / f'large.{suffix}')
    (root / 'linear.py').write_text(CONFIG)
    torch.save(dict(state_dict=init_model(Config.fromfile(root / 'linear.py'), device='cpu').state_dict()),
               root / 'linear.pth')
    return root


@pytest.mark.slow
def test_infer_with_windows_at_full_size(dataset, tmp_path):
    (tmp_path / 'slide.py').write_text(CONFIG + WITHOUT_RESIZE)
    used = peak(tmp_path, 'infer.py', tmp_path / 'slide.py', dataset / 'linear.pth',
                dataset / 'images' / 'validation' / 'large.jpg', '--out', tmp_path / 'out', '--device', 'cpu')
    labels = Image.open(tmp_path / 'out' / 'labels' / 'large.png')
    assert labels.size == (WIDTH, HEIGHT) and len(np.unique(labels)) > 1
    overlay = Image.open(tmp_path / 'out' / 'overlays' / 'large.jpg')
    assert overlay.width == WIDTH and overlay.height > HEIGHT  # the legend is below
    assert used < BUDGET


@pytest.mark.slow
def test_evaluation_of_whole_images(dataset, tmp_path):
    (tmp_path / 'whole.py').write_text(CONFIG + WHOLE)
    used = peak(tmp_path, 'test.py', tmp_path / 'whole.py', dataset / 'linear.pth', '--work-dir', tmp_path / 'work',
                '--out', tmp_path / 'out', ADE20K_ROOT=str(dataset))
    assert Image.open(tmp_path / 'out' / 'large.png').size == (WIDTH, HEIGHT)
    assert used < BUDGET
