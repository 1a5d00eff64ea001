"""Every config: it builds, learns and predicts, on a non-square image too, its pipelines resolve, it passes the checks,
and no two are the same training."""
import inspect
import json
import re

import numpy as np
import pytest
import torch
from mmengine.dataset import Compose
from mmengine.logging import MessageHub
from mmengine.optim import build_optim_wrapper
from mmengine.registry import DATASETS, MODELS, init_default_scope
from mmengine.structures import PixelData
from mmpretrain.structures import DataSample
from mmseg.structures import SegDataSample

from mmwhitebox.config.check import check_config
from mmwhitebox.config.consistency import check_consistency
from mmwhitebox.datasets.layout import leaf_datasets
from mmwhitebox.models.backbones import WhiteBoxTransformer
from mmwhitebox.registry import ATTENTIONS, FEEDFORWARDS
from tests.configs import CONFIGS, SIZE, config, reduced
from tests.published_sets import PUBLISHED

SEGMENTATION = [name for name in CONFIGS if 'decode_head' in config(name).model]
SELF_SUPERVISED = [name for name in CONFIGS if name.startswith(('crate_mae/', 'simdino/'))]
CLASSIFICATION = [name for name in CONFIGS if name not in [*SEGMENTATION, *SELF_SUPERVISED]]
ALIKE = tuple(f'_small_{data}.py' for data in {*PUBLISHED} - {'cityscapes', 'drive'})


def seg_sample(h, w, num_classes):
    labels = torch.randint(0, num_classes, (1, h, w))
    labels[:, 0] = 255
    return SegDataSample(gt_sem_seg=PixelData(data=labels),
                         metainfo=dict(img_shape=(h, w), ori_shape=(h, w), pad_shape=(h, w)))


LONG = re.compile(r'_(base|large|p8|24)_')  # differ from small in numbers alone; steps of seconds


@pytest.mark.parametrize('name', [
    pytest.param(name, marks=[pytest.mark.slow] if name.endswith(ALIKE) or LONG.search(name) else [])
    for name in SEGMENTATION])
def test_segmentation_config(name):
    cfg = reduced(name)
    init_default_scope(cfg.default_scope)
    if cfg.model.test_cfg.mode == 'slide':  # at the size of the crop, which an image is enlarged to
        cfg.model.test_cfg.update(crop_size=(SIZE, SIZE), stride=(SIZE // 2, SIZE // 2), val=dict(stride=(SIZE, SIZE)))
    model = MODELS.build(cfg.model)
    model.init_weights()
    num_classes = cfg.model.decode_head.num_classes
    images = torch.randint(0, 256, (2, 3, SIZE, SIZE), dtype=torch.uint8)

    model.data_preprocessor.size = (SIZE, SIZE)
    data = model.data_preprocessor(
        dict(inputs=list(images), data_samples=[seg_sample(SIZE, SIZE, num_classes) for _ in images]), True)
    losses = model(**data, mode='loss')
    losses['decode.loss_ce'].backward()
    lacking = [key for key, p in model.named_parameters() if p.requires_grad and p.grad is None]
    assert torch.isfinite(losses['decode.loss_ce']) and not lacking

    model.eval()
    h, w = SIZE // 2 + 5, SIZE + 23  # no multiple of any patch size
    image = torch.randint(0, 256, (3, h, w), dtype=torch.uint8)
    with torch.no_grad():
        result = model.test_step(dict(inputs=[image], data_samples=[seg_sample(h, w, num_classes)]))[0]
    assert result.pred_sem_seg.data.shape == (1, h, w) and result.pred_sem_seg.data.max() < num_classes


@pytest.mark.parametrize('name', [
    pytest.param(name, marks=[pytest.mark.slow] if LONG.search(name) else []) for name in CLASSIFICATION])
def test_classification_config(name):
    """One step of its own optimizer reaches every parameter, with mixup where the recipe has it."""
    cfg = reduced(name)
    init_default_scope(cfg.default_scope)
    model = MODELS.build(cfg.model)
    model.init_weights()
    num_classes = cfg.model.head.num_classes
    optimizer = build_optim_wrapper(model, cfg.optim_wrapper)

    images = torch.randint(0, 256, (4, 3, SIZE, SIZE), dtype=torch.uint8)
    samples = [DataSample().set_gt_label(int(i)) for i in torch.randint(0, num_classes, (4, ))]
    log = model.train_step(dict(inputs=images, data_samples=samples), optimizer)
    lacking = [key for key, p in model.named_parameters() if p not in optimizer.optimizer.state]
    assert torch.isfinite(log['loss']) and not lacking

    model.eval()
    h, w = SIZE // 2 + 5, SIZE + 23  # no multiple of any patch size
    image = torch.randint(0, 256, (1, 3, h, w), dtype=torch.uint8)
    with torch.no_grad():
        result = model.test_step(dict(inputs=image, data_samples=[DataSample()]))[0]
    assert result.pred_score.shape == (num_classes, ) and 0 <= result.pred_label.item() < num_classes


@pytest.mark.parametrize('name', SELF_SUPERVISED)
def test_self_supervised_config(name):
    """One step of its own optimizer reaches every parameter; the batch is the recipe's, crops have the size named."""
    whole, cfg = config(name), reduced(name)
    init_default_scope(cfg.default_scope)
    model = MODELS.build(cfg.model)
    model.init_weights()
    optimizer = build_optim_wrapper(model, cfg.optim_wrapper)
    views = whole.train_pipeline[1].get('num_views')
    sizes = [SIZE] * 2 + [SIZE // 2] * (sum(views) - 2) if views else [SIZE]
    images = [torch.randint(0, 256, (4, 3, size, size), dtype=torch.uint8) for size in sizes]
    hub = MessageHub.get_current_instance()
    hub.update_info_dict(dict(iter=0, max_iters=2))
    log = model.train_step(dict(inputs=images if views else list(images[0]), data_samples=[DataSample()] * 4),
                           optimizer)
    lacking = [key for key, p in model.named_parameters() if p.requires_grad and p not in optimizer.optimizer.state]
    assert torch.isfinite(log['loss']) and not lacking
    assert whole.train_dataloader.batch_size * (1 if '_mini_' in name else 8) == whole.auto_scale_lr.base_batch_size
    assert whole.param_scheduler[-1].end == whole.train_cfg.max_epochs
    image = np.random.default_rng(0).integers(0, 256, (150, 130, 3), dtype=np.uint8)
    for pipeline in (whole.train_pipeline, whole.test_pipeline):
        packed = Compose(pipeline)(dict(img=image, gt_label=1))['inputs']
        assert (packed[1] if isinstance(packed, list) else packed).shape == (3, *[whole.model.backbone.img_size] * 2)
        assert not isinstance(packed, list) or len(packed) == sum(views)


@pytest.mark.parametrize('name', CLASSIFICATION)
def test_classes_and_batch_agree_with_the_recipe(name):
    """Head, batch augmentation and dataset have the same classes; eight processes make the recipe's batch."""
    cfg = config(name)
    init_default_scope(cfg.default_scope)
    num_classes = cfg.model.head.num_classes
    assert cfg.model.data_preprocessor.get('num_classes', num_classes) == num_classes
    with DATASETS.switch_scope_and_registry(None) as registry:
        known = {**registry.get(cfg.test_dataloader.dataset.type).METAINFO,
                 **cfg.test_dataloader.dataset.get('metainfo', {})}
    assert len(known.get('classes', range(num_classes))) == num_classes
    processes = 1 if '_mini_' in name else 8
    assert cfg.train_dataloader.batch_size * processes == cfg.auto_scale_lr.base_batch_size
    schedule = cfg.param_scheduler[-1]
    length = cfg.train_cfg.max_epochs if schedule.get('by_epoch', True) else cfg.train_cfg.max_iters
    assert schedule.get('end') == length or schedule.get('total') == length


@pytest.mark.parametrize('name', CLASSIFICATION)
def test_pipelines_give_the_size_of_the_position_table(name):
    cfg = config(name)
    init_default_scope(cfg.default_scope)
    own_size = cfg.train_dataloader.dataset.type.startswith('mmwhitebox.')
    size = (32, 32) if own_size else (150, 130)
    for loader in (cfg.train_dataloader, cfg.test_dataloader):
        image = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
        packed = Compose(loader.dataset.pipeline)(dict(img=image, gt_label=1))
        assert packed['inputs'].shape == (3, *[cfg.model.backbone.img_size] * 2)
        assert packed['data_samples'].gt_label.tolist() == [1]


@pytest.mark.parametrize('name, millions', [
    ('dmst_tssa', 3.12), ('dmst_tpusa', 3.13), ('dmst', 3.13), ('dmst_tpsusa', 3.13)])
def test_size_of_the_ablation(name, millions):
    cfg = config(f'{name}_tiny_cifar10')
    init_default_scope(cfg.default_scope)
    model = MODELS.build(cfg.model)
    assert sum(p.numel() for p in model.parameters()) / 1e6 == pytest.approx(millions, abs=0.005)


@pytest.mark.parametrize('name', CONFIGS)
def test_pipelines_resolve(name):
    cfg = reduced(name)
    init_default_scope(cfg.default_scope)
    for part in leaf_datasets(cfg.train_dataloader.dataset):
        Compose(part.pipeline)
    Compose(cfg.test_dataloader.dataset.pipeline if cfg.test_dataloader else cfg.test_pipeline)
    if 'tta_pipeline' in cfg:
        Compose(cfg.tta_pipeline)


@pytest.mark.parametrize('name', SEGMENTATION)
def test_crop_and_positions_agree(name):
    """The crop of the pipeline, the preprocessor, the position table and the test window are one size."""
    cfg = config(name)
    crop = next(step.crop_size for step in cfg.train_pipeline if step.type == 'RandomCrop')
    assert tuple(cfg.model.data_preprocessor.size) == tuple(crop)
    assert cfg.model.backbone.img_size in (crop[0], tuple(crop))
    if cfg.model.test_cfg.mode == 'slide':
        assert tuple(cfg.model.test_cfg.crop_size) == tuple(crop)


@pytest.mark.parametrize('name', CONFIGS)
def test_every_config_passes_the_checks(name):
    cfg = config(name)
    check_config(cfg)
    check_consistency(cfg, ('train', 'val', 'test'))


def spelled(part, registry):
    """A part of a model with the defaults of its class."""
    known = inspect.signature(registry.get(part['type']).__init__).parameters
    defaults = {key: value.default for key, value in known.items() if value.default is not inspect.Parameter.empty}
    return {**defaults, **part}


def training(name):
    """All that a config says, in one spelling."""
    cfg = config(name).to_dict()
    backbone = cfg['model']['backbone']
    if 'arch' in backbone:
        arch = backbone.pop('arch')
        arch = {**(WhiteBoxTransformer.arch_zoo[arch] if isinstance(arch, str) else arch)}
        for key, registry in (('attention', ATTENTIONS), ('feedforward', FEEDFORWARDS)):
            part = backbone.pop(key, arch.get(key))
            arch[key] = spelled(part, registry) if isinstance(part, dict) and 'type' in part else part
        backbone['arch'] = arch
    return json.dumps(cfg, sort_keys=True, default=repr)


def test_no_two_configs_build_the_same_training():
    seen = {}
    for name in CONFIGS:
        seen.setdefault(training(name), []).append(name)
    assert [names for names in seen.values() if len(names) > 1] == []
