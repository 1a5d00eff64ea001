"""The counts that validations leave are those of the weights that were validated, and leave the training alone."""
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.runner import Runner
from mmseg.evaluation import IoUMetric
from PIL import Image

from mmwhitebox.engine.hooks.validation_classes import NAME, ValidationClassesHook, best_checkpoints
from mmwhitebox.engine.scores.confusion import Confusion
from tests.configs import ROOT
from tests.test_engine.trainings import IMAGES, make_config, same, train

pytestmark = pytest.mark.usefixtures('quick')

COUNT = dict(type='mmwhitebox.ValidationClassesHook')
SEEDED = {'randomness': dict(seed=0)}


def counted(hooks=(), **options):
    return {**SEEDED, 'custom_hooks': [COUNT, *hooks], 'train_cfg.val_interval': 5, **options}


def kept(work_dir):
    return json.loads((Path(work_dir) / NAME).read_text())


def mean_iou(entry):
    return 100 * np.nanmean(Confusion.from_json(entry['confusion']).scores()['IoU'])


def of_masks(images, count=IMAGES):
    """Pixels of the classes in the masks of the data set."""
    masks = [np.asarray(Image.open(images / f'seg/mask/{i}.png')).ravel() for i in range(count)]
    return np.bincount(np.concatenate(masks)).tolist()


def test_the_best_entry_is_of_the_best_checkpoint(images, tmp_path):
    """Its mean IoU is the score that mmseg's metric gave to the average, and gives again to the checkpoint."""
    runner = train(images, tmp_path, options=counted([dict(type='EMAHook', momentum=0.5)], **{
        'default_hooks.checkpoint.save_best': 'mIoU', 'default_hooks.checkpoint.interval': 99,
        'train_cfg.val_interval': 3}))
    found, entry = kept(tmp_path), kept(tmp_path)['best']['mIoU']
    assert entry['path'] == str(next(tmp_path.glob('best_mIoU_iter_*.pth')))
    assert entry['path'].endswith(f'iter_{entry["step"]}.pth') and entry['unit'] == 'iteration'
    assert entry['score'] == pytest.approx(mean_iou(entry), abs=0.006)
    assert found['last']['step'] == 11 and found['last']['scores']['mIoU'] == pytest.approx(
        mean_iou(found['last']), abs=0.006)
    assert best_checkpoints(runner) == {'mIoU': dict(path=entry['path'], score=entry['score'])}
    assert Confusion.from_json(entry['confusion']).counts.sum(1).tolist() == [*of_masks(images), 0]

    cfg = make_config(images, tmp_path / 'again')
    cfg.test_dataloader, cfg.test_evaluator, cfg.test_cfg = cfg.val_dataloader, cfg.val_evaluator, dict()
    cfg.load_from = entry['path']
    again = Runner.from_cfg(cfg).test()
    assert again['mIoU'] == pytest.approx(mean_iou(entry), abs=0.006)


@pytest.mark.slow
def test_the_training_is_left_alone(images, tmp_path):
    short = {'train_cfg.max_iters': 7}
    train(images, tmp_path / 'without', options={**SEEDED, **short, 'train_cfg.val_interval': 99})
    train(images, tmp_path / 'with', options=counted(**short))
    assert same(tmp_path / 'without/iter_7.pth', tmp_path / 'with/iter_7.pth')
    train(images, tmp_path / 'resumed', resume=tmp_path / 'with/iter_5.pth', options=counted(**short))
    assert same(tmp_path / 'without/iter_7.pth', tmp_path / 'resumed/iter_7.pth')


@pytest.mark.slow
def test_a_resumed_training_keeps_the_best_of_before(images, tmp_path):
    """Nothing is learnt, so no validation is better than the first."""
    options = counted(**{
        'default_hooks.checkpoint.save_best': 'accuracy/top1', 'default_hooks.checkpoint.interval': 4,
        'optim_wrapper.optimizer.lr': 1e-12, 'val_evaluator.topk': 1, 'train_cfg.val_interval': 2})
    train(images, tmp_path, 'cls', options={**options, 'train_cfg.max_iters': 4})
    before = kept(tmp_path)
    assert (before['best']['accuracy/top1']['step'], before['last']['step']) == (2, 4)
    train(images, tmp_path, 'cls', resume=tmp_path / 'iter_4.pth', options={**options, 'train_cfg.max_iters': 6})
    after = kept(tmp_path)
    assert after['best'] == before['best'] and after['last']['step'] == 6


@pytest.mark.slow
def test_what_another_training_left_in_the_folder_is_not_taken(images, tmp_path):
    (tmp_path / NAME).write_text(json.dumps(dict(best=dict(mIoU=dict(step=99)), last=dict(step=99))))
    options = counted(**{'train_cfg.max_iters': 2})
    runner = train(images, tmp_path, options={**options, 'train_cfg.val_begin': 9})  # without any validation
    assert next(hook for hook in runner.hooks if isinstance(hook, ValidationClassesHook)).kept == dict(best={})
    train(images, tmp_path, options=options)
    assert kept(tmp_path)['last']['step'] == 2 and kept(tmp_path)['best'] == {}
    (tmp_path / NAME).write_text('{"best"')
    train(images, tmp_path, resume=tmp_path / 'iter_2.pth', options={**options, 'train_cfg.max_iters': 3})
    assert 'cannot be read' in ''.join(log.read_text() for log in tmp_path.glob('*/*.log'))
    assert kept(tmp_path)['last']['step'] == 3


def test_several_scores_and_metrics(images, tmp_path):
    train(images, tmp_path, options=counted(**{
        'train_cfg.max_iters': 2, 'default_hooks.checkpoint.save_best': ['mIoU', 'again/aAcc'], 'val_evaluator': [
            dict(type='IoUMetric'), dict(type='mmwhitebox.IoUMetric', prefix='again', iou_metrics='mDice')]}))
    best = kept(tmp_path)['best']
    assert set(best) == {'mIoU', 'again/aAcc'}
    for metric, entry in best.items():
        assert Path(entry['path']).is_file() and entry['score'] == entry['scores'][metric]


@pytest.mark.slow
def test_a_classifier_by_epochs(images, tmp_path):
    """An average that validates twice is counted once."""
    hooks = [dict(type='mmpretrain.EMAHook', momentum=0.5, evaluate_on_origin=True)]
    train(images, tmp_path, 'cls', by_epoch=True, options=counted(hooks, **{
        'default_hooks.checkpoint.save_best': 'accuracy/top1', 'default_hooks.checkpoint.by_epoch': True,
        'default_hooks.checkpoint.interval': 9, 'val_evaluator.topk': 1, 'train_cfg.val_interval': 1,
        'train_cfg.max_epochs': 2}))
    entry = kept(tmp_path)['best']['accuracy/top1']
    confusion = Confusion.from_json(entry['confusion'])
    assert entry['unit'] == 'epoch' and confusion.unit == 'images' and confusion.classes == ['a', 'b']
    assert confusion.counts.sum(1).tolist() == [5, 5, 0]
    assert 100 * confusion.matrix.trace() / 10 == pytest.approx(entry['score'])


TWO = '''
import sys, torch
from mmengine.evaluator import Evaluator
from tests.test_engine.test_validation_classes import two_processes
torch.set_num_threads(1)
torch.distributed.init_process_group('gloo')
two_processes(*sys.argv[1:])
torch.distributed.barrier()
torch.distributed.destroy_process_group()
'''
SCORED = dict(type='mmwhitebox.IoUMetric', iou_metrics=['mIoU', 'mBoundaryF'], bootstrap=200)
ALONE = {'val_dataloader.batch_size': 1, 'model.decode_head.norm_cfg': None}  # a prediction depends on its image alone


def two_processes(images, work_dir, launcher='pytorch'):
    """Nine images for two processes: the tenth of their batches is the first image again."""
    cfg: Config = make_config(images, work_dir, options=counted(**{
        'launcher': launcher, 'sync_bn': None, 'train_cfg.max_iters': 2, 'val_dataloader.dataset.indices': 9,
        'train_dataloader.sampler.type': 'DefaultSampler', **ALONE,
        'model_wrapper_cfg': dict(type='MMDistributedDataParallel', device_ids=None, broadcast_buffers=False)}))
    cfg.val_evaluator = SCORED
    runner = Runner.from_cfg(cfg)
    runner.train()
    if runner.rank == 0:
        scored = runner.val_loop.evaluator.metrics[0].scored
        torch.save(dict(scored.means(), images=scored.images, interval=scored.intervals['mIoU'].tolist(),
                        boundary=scored.scores['mBoundaryF'].item()), Path(work_dir) / 'scored.pt')


@pytest.mark.slow
def test_two_processes_count_every_image_once(images, tmp_path):
    script = tmp_path / 'two.py'
    script.write_text(TWO)
    done = subprocess.run(
        [sys.executable, '-m', 'torch.distributed.run', '--nproc_per_node=2', '--master_port=29641', str(script),
         str(images), str(tmp_path / 'work')], capture_output=True, text=True, timeout=200, cwd=tmp_path,
        env={**os.environ, 'OMP_NUM_THREADS': '1', 'PYTHONPATH': str(ROOT), 'PYTHONWARNINGS': 'ignore'})
    assert done.returncode == 0, done.stderr[-3000:]
    entry = kept(tmp_path / 'work')['last']
    assert Confusion.from_json(entry['confusion']).counts.sum(1).tolist() == [*of_masks(images, 9), 0]
    assert mean_iou(entry) == pytest.approx(entry['scores']['mIoU'], abs=0.006)

    cfg = make_config(images, tmp_path / 'one', options={'val_dataloader.dataset.indices': 9, **ALONE})
    cfg.test_dataloader, cfg.test_evaluator, cfg.test_cfg = cfg.val_dataloader, [SCORED, dict(
        type=IoUMetric, prefix='theirs')], dict()
    cfg.load_from = str(tmp_path / 'work/iter_2.pth')
    runner = Runner.from_cfg(cfg)
    found = runner.test()
    scored = torch.load(tmp_path / 'work/scored.pt', weights_only=False)
    one = runner.test_loop.evaluator.metrics[0].scored
    assert scored['images'] == one.images == 9
    assert scored['boundary'] == pytest.approx(one.scores['mBoundaryF'].item())
    assert 100 * scored['mIoU'] == pytest.approx(found['theirs/mIoU'], abs=0.006)
    np.testing.assert_allclose(scored['interval'], one.intervals['mIoU'])  # the same images in the same order
