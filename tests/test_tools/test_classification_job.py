"""The classification job as a user types it: train, resume, evaluate, classify images."""
import csv
import json
import pickle

import numpy as np
import pytest
import torch
from mmengine.registry import MODELS, init_default_scope
from mmengine.runner import load_checkpoint
from PIL import Image

from examples.miniature import make_mini_imagenet
from examples.miniature.pictures import OBJECT_CLASSES
from tests.configs import ROOT, SIZE, reduced
from tests.test_tools.test_bad_input import run_tool
from tests.test_tools.test_main_job import NO_WORKERS, typed

CONFIG = ROOT / 'configs' / 'cbt/cbt_mini_imagenet.py'
OPTIONS = ['model.backbone.arch.num_layers=1', 'train_dataloader.batch_size=4',
           'default_hooks.logger.interval=1', 'train_cfg.val_interval=1']


@pytest.fixture(scope='module')
def job(tmp_path_factory):
    """Mini data and a first training of one epoch, three iterations."""
    root = tmp_path_factory.mktemp('job')
    make_mini_imagenet.main(['--out', str(root / 'data'), '--train', '12', '--val', '12', '--size', '64'])
    env = dict(MINI_IMAGENET_ROOT=str(root / 'data'))
    done = typed('train', CONFIG, '--work-dir', root / 'work', '--cfg-options', *OPTIONS, *NO_WORKERS,
                 'train_cfg.max_epochs=1', **env)
    assert done.returncode == 0, done.stderr
    return root, env, done.stdout


def test_training_evaluates_and_keeps_the_best(job):
    root, _, log = job
    assert 'CustomDataset: 12 class folders' in log and 'accuracy/top5' in log
    assert list((root / 'work').glob('best_accuracy_top1_epoch_1.pth'))
    meta = torch.load(root / 'work' / 'epoch_1.pth', weights_only=False)['meta']
    assert tuple(meta['dataset_meta']['classes']) == OBJECT_CLASSES


@pytest.mark.slow
def test_resume_continues(job):
    root, env, _ = job
    done = typed('train', CONFIG, '--work-dir', root / 'work', '--resume', '--cfg-options', *OPTIONS, *NO_WORKERS,
                 'train_cfg.max_epochs=2', **env)
    assert done.returncode == 0, done.stderr
    assert 'Epoch(train) [2][3/3]' in done.stdout and 'Epoch(train) [1]' not in done.stdout


def test_evaluation_writes_metrics_predictions_and_pictures(job):
    root, env, _ = job
    done = typed('test', CONFIG, root / 'work' / 'epoch_1.pth', '--work-dir', root / 'test', '--out',
                 root / 'predictions.pkl', '--show-dir', root / 'pictures', '--cfg-options', *OPTIONS, *NO_WORKERS,
                 **env)
    assert done.returncode == 0, done.stderr
    metrics = json.loads(next((root / 'test').glob('*/*.json')).read_text())
    assert 0 <= metrics['accuracy/top1'] <= metrics['accuracy/top5'] <= 100
    predictions = pickle.loads((root / 'predictions.pkl').read_bytes())
    assert len(predictions) == 12 and predictions[0]['pred_score'].shape == (12, )
    assert len(list((root / 'pictures').rglob('*.png'))) == 12


@pytest.mark.slow
def test_infer_writes_a_table_and_lists_what_it_skipped(job, tmp_path):
    root, env, _ = job
    photos = tmp_path / 'photos'
    photos.mkdir()
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 256, (40, 60, 3), dtype=np.uint8)).save(photos / 'good.jpg')
    Image.fromarray(rng.integers(0, 256, (90, 60), dtype=np.uint8)).save(photos / 'grey.png')
    (photos / 'broken.jpg').write_bytes((photos / 'good.jpg').read_bytes()[:500])
    done = typed('infer', CONFIG, root / 'work' / 'epoch_1.pth', photos, '--out', tmp_path / 'out', '--batch-size', 2,
                 '--device', 'cpu', '--cfg-options', *OPTIONS, **env)
    assert done.returncode == 1 and '2 of 3 images classified' in done.stdout, done.stderr
    assert 'broken.jpg: cannot read this image' in done.stderr and 'Traceback' not in done.stderr
    rows = list(csv.DictReader((tmp_path / 'out' / 'predictions.csv').open()))
    assert [(row['image'], row['rank']) for row in rows] == [
        (str(photos / name), str(rank)) for name in ('good.jpg', 'grey.png') for rank in range(1, 6)]
    assert all(row['class'] in OBJECT_CLASSES for row in rows)
    scores = [float(row['score']) for row in rows[:5]]
    assert scores == sorted(scores, reverse=True) and 0 < sum(scores) <= 1


def test_missing_data_shows_the_layout(monkeypatch, tmp_path):
    monkeypatch.setenv('MINI_IMAGENET_ROOT', f'{tmp_path}/nowhere')
    message = run_tool(monkeypatch, 'train.py', CONFIG, '--work-dir', tmp_path / 'work')
    assert 'nowhere/train does not exist' in message and 'nowhere/train/CLASS/*' in message


def test_predictions_go_to_a_pickle_file(monkeypatch, tmp_path):
    message = run_tool(monkeypatch, 'test.py', CONFIG, 'x.pth', '--work-dir', tmp_path, '--out',
                       tmp_path / 'labels')
    assert 'NAME.pkl' in message


def test_fine_tuning_starts_from_a_classifier_of_other_classes_and_size(tmp_path):
    """``load_from`` takes the encoder, interpolates its positions, and leaves the head as initialised."""
    cfg = reduced('cbt/cbt_tiny_imagenet.py')
    init_default_scope('mmpretrain')
    pretrained = MODELS.build(cfg.model)
    torch.save(dict(state_dict=pretrained.state_dict()), tmp_path / 'imagenet.pth')
    cfg.model.head.num_classes = 5
    cfg.model.backbone.img_size = 2 * SIZE
    model = MODELS.build(cfg.model)
    head = model.head.fc.weight.clone()
    load_checkpoint(model, str(tmp_path / 'imagenet.pth'), map_location='cpu')
    encoder, loaded = pretrained.backbone.state_dict(), model.backbone.state_dict()
    assert all(torch.equal(encoder[key], loaded[key]) for key in encoder if key != 'pos_embed.table')
    assert torch.equal(encoder['pos_embed.table'][:, 0], loaded['pos_embed.table'][:, 0])
    assert torch.equal(model.head.fc.weight, head)
