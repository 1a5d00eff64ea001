"""Trainings of a second: tiny segmentors and classifiers under the runtime configs that users get, all random."""
import random
import uuid
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import patch

import numpy as np
import torch
from mmengine.config import Config
from mmengine.registry import TRANSFORMS
from mmengine.runner import Runner
from PIL import Image

ROOT = Path(__file__).parents[2]
SIZE = 16
IMAGES = 10
BATCH = 3  # an epoch has four batches, the last of one image
ITERATIONS = 11


@TRANSFORMS.register_module()
class DrawFromAll:
    """Adds noise that draws from the generators of Python, NumPy and torch."""

    def __call__(self, results):
        noise = random.uniform(-9, 9) + np.random.uniform(-9, 9) + torch.rand(()).item() * 9
        results['img'] = np.clip(results['img'] + noise, 0, 255).astype(np.uint8)
        return results


def write_images(folder):
    """Ten images with masks of three classes, and two folders of five images with a class each."""
    rng = np.random.default_rng(0)
    for name in ('seg/img', 'seg/mask', 'cls/a', 'cls/b'):
        (Path(folder) / name).mkdir(parents=True)
    for i in range(IMAGES):
        image = Image.fromarray(rng.integers(0, 256, (20 + i, 30 - i, 3), dtype=np.uint8))
        image.save(Path(folder) / 'seg/img' / f'{i}.png')
        image.save(Path(folder) / 'cls' / 'ab'[i % 2] / f'{i}.png')
        mask = rng.integers(0, 3, (20 + i, 30 - i), dtype=np.uint8)
        Image.fromarray(mask).save(Path(folder) / 'seg/mask' / f'{i}.png')


def backbone(**options):
    arch = dict(embed_dims=8, num_layers=2, num_heads=2, attention=dict(type='CBSA', pool_size=2),
                feedforward=dict(type='ISTA'), stem=dict(type='PatchConv'))
    return dict(type='mmwhitebox.WhiteBoxTransformer', arch=arch, img_size=SIZE, patch_size=8, drop_path_rate=0.5,
                **options)


def segmentation(folder):
    pipeline = [dict(type='mmwhitebox.LoadImage'), dict(type='mmwhitebox.LoadSegAnnotation', num_classes=3)]
    return dict(
        model=dict(
            type='EncoderDecoder',
            data_preprocessor=dict(type='SegDataPreProcessor', mean=[127.5] * 3, std=[127.5] * 3, size=(SIZE, SIZE)),
            backbone=backbone(out_type='featmap'),
            decode_head=dict(type='FCNHead', in_channels=8, channels=8, num_convs=1, num_classes=3, dropout_ratio=0.3,
                             norm_cfg=dict(type='BN'), loss_decode=dict(type='CrossEntropyLoss')),
            test_cfg=dict(mode='whole')),
        pipeline=[*pipeline, dict(type='RandomResize', scale=(SIZE, SIZE), ratio_range=(1., 2.)),
                  dict(type='RandomCrop', crop_size=(SIZE, SIZE)), dict(type='RandomFlip', prob=0.5),
                  dict(type='PhotoMetricDistortion'), dict(type='DrawFromAll'), dict(type='PackSegInputs')],
        test_pipeline=[pipeline[0], dict(type='Resize', scale=(SIZE, SIZE)), pipeline[1], dict(type='PackSegInputs')],
        dataset=dict(type='BaseSegDataset', data_root=str(folder / 'seg'), img_suffix='.png', reduce_zero_label=False,
                     data_prefix=dict(img_path='img', seg_map_path='mask'),
                     metainfo=dict(classes=('x', 'y', 'z'), palette=[[0, 0, 0], [9, 9, 9], [99, 99, 99]])),
        evaluator=dict(type='IoUMetric'))


def classification(folder):
    return dict(
        model=dict(
            type='ImageClassifier',
            data_preprocessor=dict(type='ClsDataPreprocessor', mean=[127.5] * 3, std=[127.5] * 3, num_classes=2),
            backbone=backbone(),
            head=dict(type='LinearClsHead', in_channels=8, num_classes=2,
                      loss=dict(type='LabelSmoothLoss', label_smooth_val=0.1, mode='original')),
            train_cfg=dict(augments=[dict(type='Mixup', alpha=0.8), dict(type='CutMix', alpha=1.0)])),
        pipeline=[dict(type='mmwhitebox.LoadImage'), dict(type='RandomResizedCrop', scale=SIZE),
                  dict(type='RandomFlip', prob=0.5, direction='horizontal'),
                  dict(type='RandomErasing', erase_prob=0.5, mode='rand'), dict(type='DrawFromAll'),
                  dict(type='PackInputs')],
        test_pipeline=[dict(type='mmwhitebox.LoadImage'), dict(type='Resize', scale=(SIZE, SIZE)),
                       dict(type='PackInputs')],
        dataset=dict(type='CustomDataset', data_root=str(folder / 'cls'), metainfo=dict(classes=('a', 'b'))),
        evaluator=dict(type='Accuracy'))


def masked(folder):
    """A masked autoencoder on the images of the classes; nothing is validated."""
    parts = classification(folder)
    model = dict(type='mmwhitebox.CRATEMAE', data_preprocessor=parts['model']['data_preprocessor'], backbone=backbone(),
                 mask_ratio=0.5)
    return dict(parts, model=model)


def views(folder):
    """A student and its teacher on crops of two sizes; nothing is validated."""
    parts = classification(folder)
    preprocessor = dict(type='SelfSupDataPreprocessor', mean=[127.5] * 3, std=[127.5] * 3)
    crops = [[dict(type='RandomResizedCrop', scale=size), dict(type='DrawFromAll')] for size in (SIZE, SIZE // 2)]
    model = dict(type='mmwhitebox.SimDINO', data_preprocessor=preprocessor, backbone=backbone(),
                 neck=dict(hidden_channels=8, out_channels=4), momentum=0.9)
    return dict(parts, model=model, pipeline=[
        parts['pipeline'][0], dict(type='MultiView', num_views=[2, 1], transforms=crops), dict(type='PackInputs')])


def make_config(folder, work_dir, task='seg', by_epoch=False, workers=0, resume=None, options=None) -> Config:
    """A training of eleven iterations or three epochs, with a checkpoint at every fifth iteration and at the end.

    ``options`` are merged last; their keys may have dots.
    """
    parts = dict(seg=segmentation, cls=classification, mae=masked, views=views)[task](Path(folder))
    base = 'default_runtime.py' if task == 'seg' else 'default_runtime_cls.py'
    cfg = Config.fromfile(ROOT / 'configs/_base_' / base)
    loader = dict(num_workers=workers, persistent_workers=workers > 0)
    cfg.merge_from_dict(dict(
        model=parts['model'],
        train_dataloader=dict(
            **loader, batch_size=BATCH, dataset={**parts['dataset'], 'pipeline': parts['pipeline']},
            sampler=dict(type='DefaultSampler' if by_epoch else 'InfiniteSampler', shuffle=True)),
        val_dataloader=dict(
            **loader, batch_size=BATCH, dataset={**parts['dataset'], 'pipeline': parts['test_pipeline']},
            sampler=dict(type='DefaultSampler', shuffle=False)),
        val_evaluator=parts['evaluator'],
        train_cfg=dict(by_epoch=True, max_epochs=3, val_interval=1) if by_epoch else
        dict(by_epoch=False, max_iters=ITERATIONS, val_interval=5),
        val_cfg=dict(),
        optim_wrapper=dict(type='OptimWrapper', optimizer=dict(type='AdamW', lr=1e-2)),
        param_scheduler=[dict(type='CosineAnnealingLR', T_max=3 if by_epoch else ITERATIONS, by_epoch=by_epoch)],
        log_level='WARNING', work_dir=str(work_dir), experiment_name=uuid.uuid4().hex,
        visualizer=dict(name=uuid.uuid4().hex),  # mmengine would hand out that of an earlier training
        load_from=None if resume is None else str(resume), resume=resume is not None,
        env_cfg=dict(cudnn_benchmark=False)))
    if task == 'views':
        cfg.train_dataloader.collate_fn = dict(type='default_collate')
    if task in ('mae', 'views'):
        cfg.update(val_dataloader=None, val_evaluator=None, val_cfg=None)
    cfg.default_hooks.checkpoint.update(by_epoch=False, interval=5, max_keep_ckpts=-1, save_best=None)
    cfg.default_hooks.pop('visualization')
    cfg.merge_from_dict(options or {})
    return cfg


@contextmanager
def quickly():
    """Trainings without what costs seconds and changes nothing: several threads, pauses, the looks of a config.

    And the search for garbage at every data set that is built, through all that is in memory.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with ExitStack() as stack:
        for name, stand_in in (
                ('mmengine.runner.loops.time', SimpleNamespace(sleep=lambda seconds: None)),
                ('mmengine.dataset.base_dataset.gc', SimpleNamespace(collect=lambda: 0)),
                ('mmengine.runner.runner.collect_env', dict),
                ('yapf.yapflib.yapf_api.FormatCode', lambda text, **options: (text, True))):
            stack.enter_context(patch(name, stand_in))
        yield
    torch.set_num_threads(threads)


def train(*args, **kwargs) -> Runner:
    """Train as :func:`make_config` says; no worker is left."""
    runner = Runner.from_cfg(make_config(*args, **kwargs))
    try:
        runner.train()
    finally:
        for loop in (runner.train_loop, runner.val_loop):
            if loop is not None and getattr(loop.dataloader, '_iterator', None) is not None:
                loop.dataloader._iterator._shutdown_workers()
    return runner


def everything(path) -> dict:
    """The tensors of a checkpoint that training depends on, by name: model, average, optimizer."""
    checkpoint = torch.load(path, weights_only=False)
    tensors = {}
    for key in ('state_dict', 'ema_state_dict', 'optimizer'):
        stack = [(key, checkpoint.get(key))]
        while stack:
            name, value = stack.pop()
            if isinstance(value, dict):
                stack += [(f'{name}.{k}', v) for k, v in value.items()]
            elif isinstance(value, (list, tuple)):
                stack += [(f'{name}.{i}', v) for i, v in enumerate(value)]
            elif value is not None:
                tensors[name] = torch.as_tensor(value)
    return tensors


def same(first, second) -> bool:
    """Whether two checkpoints are equal bit for bit."""
    first, second = everything(first), everything(second)
    return first.keys() == second.keys() and all(torch.equal(first[key], second[key]) for key in first)
