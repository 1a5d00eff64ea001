"""A training of mmengine's own Runner is looked at like one of the command, in any process and folder."""
import subprocess
import sys
import textwrap

import numpy as np
import pytest
from PIL import Image

from tests.configs import ROOT

RUN = textwrap.dedent("""
    import sys
    from mmengine.config import Config
    from mmengine.runner import Runner
    Runner.from_cfg(Config.fromfile(sys.argv[1])).train()
""")
CONFIG = """
_base_ = '{root}/configs/cbt_decoder/cbt_decoder_mini_ade20k.py'
work_dir = 'work'
data = dict(
    _delete_=True, type='BaseSegDataset', data_root='data', data_prefix=dict(img_path='images', seg_map_path='masks'),
    img_suffix='.png', metainfo=dict(classes=('rest', 'thing')), pipeline=[
        dict(type='mmwhitebox.LoadImage'), dict(type='LoadAnnotations'),
        dict(type='RandomCrop', crop_size=(128, 128)), dict(type='PackSegInputs')])
train_dataloader = dict(batch_size=2, num_workers=0, persistent_workers=False, dataset=data)
val_dataloader = test_dataloader = val_cfg = test_cfg = val_evaluator = test_evaluator = None
train_cfg = dict(_delete_=True, type='IterBasedTrainLoop', max_iters=1)
model = dict(backbone=dict(model_kwargs=dict(depth=1)), decode_head=dict(num_classes={classes}, num_layers=1))
default_hooks = dict(checkpoint=dict(interval=1, save_best=None))
{more}
"""


def train(folder, labels=(0, 1), classes=2, more=''):
    """Train in a folder of its own with two images whose masks hold the labels; the finished process."""
    for name in ('images', 'masks'):
        (folder / 'data' / name).mkdir(parents=True)
    mask = np.resize(np.array(labels, np.uint8), (128, 128))
    for i in range(2):
        Image.new('RGB', (128, 128), (i, 0, 0)).save(folder / 'data' / 'images' / f'{i}.png')
        Image.fromarray(mask).save(folder / 'data' / 'masks' / f'{i}.png')
    (folder / 'mine.py').write_text(CONFIG.format(root=ROOT, classes=classes, more=more))
    return subprocess.run([sys.executable, '-W', 'ignore', '-c', RUN, 'mine.py'], cwd=folder, text=True,
                          capture_output=True)


@pytest.mark.parametrize('kwargs, message', [
    (dict(classes=3), 'Numbers of classes differ'),
    pytest.param(dict(labels=(0, 255)), 'masks hold the labels 0, 255 alone', marks=pytest.mark.slow),
    pytest.param(dict(more='randomnes = dict(seed=3)'), "did you mean 'randomness'", marks=pytest.mark.slow),
    (dict(more="load_from = 'evil.pth'"), 'was refused'),
], ids=['classes', 'masks', 'config', 'checkpoint'])
def test_what_cannot_work_is_refused(tmp_path, kwargs, message):
    (tmp_path / 'evil.pth').write_bytes(b"cos\nsystem\n(S'touch ran'\ntR.")
    done = train(tmp_path, **kwargs)
    assert done.returncode != 0 and message in done.stderr, done.stderr
    assert not (tmp_path / 'work' / 'iter_1.pth').exists() and not (tmp_path / 'ran').exists()


def test_a_right_one_trains_within_the_lock(tmp_path):
    done = train(tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / 'work' / 'iter_1.pth').is_file() and not (tmp_path / 'work' / 'training.lock').exists()
