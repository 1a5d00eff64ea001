"""Parts of a config that contradict each other are named before training; what works is left alone."""
import copy
from pathlib import Path

import mmpretrain
import mmseg
import pytest
import torch
from mmengine.config import Config
from mmengine.dataset import BaseDataset
from mmengine.evaluator import Evaluator
from mmengine.registry import METRICS, init_default_scope
from mmseg.datasets import BaseSegDataset
from mmseg.models import FCNHead
from mmseg.models.segmentors import EncoderDecoder

from mmwhitebox.config.consistency import check_consistency, raise_together
from mmwhitebox.config.consistency.scores import metric_scores
from mmwhitebox.config_parts import make_part
from mmwhitebox.errors import ConfigError, DatasetLayoutError
from tests.configs import config as read

SEG, CLS = 'cbt_decoder/cbt_decoder_mini_ade20k.py', 'cbt/cbt_mini_imagenet.py'
FIVE = dict(classes=('a', 'b', 'c', 'd', 'e'))


def config(name, options=None):
    cfg = read(name)
    cfg.merge_from_dict(options or {})
    return cfg


def own_data(options=None, classes=FIVE['classes']):
    """The segmentation config on data of some classes; steps, head and data agree."""
    cfg = config(SEG)
    for loader in (cfg.train_dataloader, cfg.val_dataloader, cfg.test_dataloader):
        loader.dataset.update(type='BaseSegDataset', metainfo=dict(classes=classes))
        for step in loader.dataset.pipeline:
            if 'num_classes' in step:
                step.num_classes = len(classes)
    cfg.model.decode_head.num_classes = len(classes)
    cfg.merge_from_dict(options or {})
    return cfg


def problems(cfg, splits=('train', 'val')):
    try:
        check_consistency(cfg, splits)
    except ConfigError as error:
        return str(error).splitlines()[1:]
    return []


THEIRS = [
    (mmseg, 'stdc/stdc1_4xb12-80k_cityscapes-512x1024.py'),  # auxiliary heads of other classes
    (mmseg, 'knet/knet-s3_r50-d8_fcn_8xb2-adamw-80k_ade20k-512x512.py'),  # a head of heads
    (mmseg, 'maskformer/maskformer_r50-d32_8xb2-160k_ade20k-512x512.py'),
    (mmseg, 'san/san-vit-b16_coco-stuff164k-640x640.py'),
    (mmseg, 'point_rend/pointrend_r50_4xb4-160k_ade20k-512x512.py'),
    (mmseg, 'unet/unet-s5-d16_fcn_4xb4-40k_chase-db1-128x128.py'), (mmseg, 'vpd/vpd_sd_4xb8-25k_nyu-480x480.py'),
    (mmpretrain, 'resnet/resnet50_8xb16_cifar100.py'), (mmpretrain, 'csra/resnet101-csra_1xb16_voc07-448px.py'),
    (mmpretrain, 'arcface/resnet50-arcface_8xb32_inshop.py'),
    (mmpretrain, 'mae/mae_vit-base-p16_8xb512-amp-coslr-300e_in1k.py'),
    (mmpretrain, 'resnet/resnet50_8xb32-mixup_in1k.py'), (mmpretrain, 'vig/vig-tiny_8xb128_in1k.py'),
]


@pytest.mark.parametrize('package, name', THEIRS, ids=[name for _, name in THEIRS])
def test_configs_of_the_stack_are_consistent(package, name):
    path = Path(package.__file__).parent / '.mim' / 'configs' / name
    check_consistency(Config.fromfile(path), ('train', 'val', 'test'))


@pytest.mark.parametrize('package, name, message', [
    (mmseg, 'san/san-vit-b16_voc12aug-640x640.py', 'have 21, but val_dataloader.dataset (PascalVOCDataset) 20'),
    (mmpretrain, 'efficientnet_v2/efficientnetv2-s_8xb32_in21k.py', 'have 1000, but model.head.num_classes 21843'),
])
def test_configs_of_the_stack_that_would_train_something_else(package, name, message):
    """VOC is trained with its background and tested without; 21843 classes are trained on data of 1000."""
    found = problems(Config.fromfile(Path(package.__file__).parent / '.mim' / 'configs' / name))
    assert len(found) == 1 and message in found[0]


AUX = dict(type='FCNHead', in_channels=192, channels=8, num_classes=5)


@pytest.mark.parametrize('cfg, lines', [
    (lambda: own_data({'model.decode_head.num_classes': 150}),
     ['Numbers of classes differ: train_dataloader.dataset (BaseSegDataset), val_dataloader.dataset (BaseSegDataset), '
      'train_dataloader.dataset.pipeline.1.num_classes, val_dataloader.dataset.pipeline.2.num_classes have 5, but '
      'model.decode_head.num_classes 150. Data and model must agree: set model.decode_head.num_classes=5, or correct '
      'the classes of the data.']),
    (lambda: own_data({'model.auxiliary_head': [dict(AUX), dict(AUX, num_classes=3)]}),
     ['but model.auxiliary_head.1.num_classes 3. Data and model must agree: set']),
    (lambda: own_data({'train_dataloader.dataset.pipeline.1.num_classes': 4}),
     ['but train_dataloader.dataset.pipeline.1.num_classes 4.']),
    (lambda: own_data({'val_dataloader.dataset.metainfo.classes': ('b', 'a', 'c', 'd', 'e')}),
     ['val_dataloader.dataset has the classes of train_dataloader.dataset in another order (b, a, c, d, e; a, b']),
    (lambda: config(CLS, {'model.head.num_classes': 1000}), ['have 12, but model.head.num_classes 1000.']),
    (lambda: config(CLS, {'model.head.num_classes': 12, 'model.data_preprocessor.num_classes': 10,
                          'model.train_cfg': dict(augments=dict(type='Mixup', alpha=.8))}),
     ['but model.data_preprocessor.num_classes 10.']),
    (lambda: config(CLS, {'val_evaluator.topk': (1, 20)}),
     ['val_evaluator.topk=(1, 20) asks for the 20 best of 12 classes (model.head.num_classes=12): lower it']),
    (lambda: config(CLS, {'model.head.cal_acc': True, 'model.head.topk': (1, 15)}), ['model.head.topk=(1, 15) asks']),
])
def test_numbers_of_classes(cfg, lines):
    found = problems(cfg())
    assert len(found) == len(lines) and all(line in f for line, f in zip(lines, found)), found


class Extended(BaseSegDataset):
    METAINFO = dict(classes=('a', 'b', 'c'))

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self._metainfo['classes'] = FIVE['classes']


class Background(FCNHead):
    def loss_by_feat(self, *args):  # a class of its own for the background
        return {}


class OwnWrapper(BaseDataset):
    """What it does with the classes of the data inside is not known."""


@pytest.mark.parametrize('change', [
    lambda cfg: cfg.train_dataloader.__setattr__('dataset', dict(type='RepeatDataset', times=2, dataset=dict(
        type='ConcatDataset', datasets=[copy.deepcopy(cfg.train_dataloader.dataset) for _ in range(2)]))),
    lambda cfg: cfg.train_dataloader.dataset.update(metainfo=None, type=Extended),  # a class that names its own
    lambda cfg: cfg.train_dataloader.__setattr__('dataset', dict(type=OwnWrapper, dataset=dict(
        type='ADE20KDataset'))),
    lambda cfg: cfg.model.decode_head.update(type=Background, num_classes=6),
    lambda cfg: cfg.model.update(auxiliary_head=dict(type='STDCHead', num_classes=2)),
    lambda cfg: cfg.model.update(type=type('Own', (EncoderDecoder, ), {}), auxiliary_head=dict(AUX, num_classes=9)),
    lambda cfg: cfg.update(val_evaluator=[cfg.val_evaluator, dict(type='DumpResults', out_file_path='x.pkl')]),
    lambda cfg: cfg.update(val_evaluator=dict(type='Evaluator', metrics=[cfg.val_evaluator])),
    lambda cfg: cfg.update(val_evaluator=None, val_dataloader=None, val_cfg=None),
    lambda cfg: [cfg.pop(key) for key in ('val_evaluator', 'val_dataloader', 'val_cfg', 'train_cfg')],
    lambda cfg: cfg.model.pop('test_cfg'),
    lambda cfg: cfg.train_dataloader.dataset.update(type='Unheard', metainfo=dict(classes=('a', ))),
])
def test_what_works_is_left_alone(change):
    cfg = own_data()
    change(cfg)
    assert problems(cfg) == []


def test_one_channel_for_two_classes_is_left_alone():
    head = dict(_delete_=True, type='FCNHead', in_channels=192, channels=8, out_channels=1, threshold=.5)
    for count in (1, 2):
        assert problems(own_data({'model.decode_head': dict(head, num_classes=count)}, classes=('rest', 'thing'))) == []
    assert 'model.decode_head.num_classes 2' in problems(own_data({'model.decode_head': dict(head, num_classes=2)}))[0]


def test_a_choice_of_classes_is_counted():
    cfg = own_data(classes=('wall', 'sky'))
    for loader in (cfg.train_dataloader, cfg.val_dataloader):
        loader.dataset.type = 'ADE20KDataset'
    assert problems(cfg) == []
    del cfg.train_dataloader.dataset.metainfo
    assert 'have 2' not in problems(cfg)[0] and 'train_dataloader.dataset (ADE20KDataset) has 150' in problems(cfg)[0]


@pytest.mark.parametrize('options, lines', [
    ({'model.decode_head.ignore_index': 254}, ['model.data_preprocessor.seg_pad_val=255, but model.decode_head.ignore_'
     'index=254: it would count.', 'model.decode_head.ignore_index=254, but val_evaluator.ignore_index=255']),
    ({'model.data_preprocessor.seg_pad_val': 100}, ['seg_pad_val=100, but model.decode_head.ignore_index=255']),
    ({'model.data_preprocessor.seg_pad_val': 0}, []),  # the first class
    ({'train_dataloader.dataset.pipeline.1.ignore_index': 99},
     ['train_dataloader.dataset.pipeline.1.ignore_index=99, but model.decode_head.ignore_index=255']),
    ({'train_dataloader.dataset.pipeline.6': dict(type='Pad', size=(9, 9), pad_val=dict(img=0, seg=77))},
     ['train_dataloader.dataset.pipeline.6.pad_val.seg=77, but model.decode_head.ignore_index=255']),
    ({'train_dataloader.dataset.reduce_zero_label': True, 'model.decode_head.ignore_index': 0,
      'model.data_preprocessor.seg_pad_val': 0},
     ['train_dataloader.dataset: reduce_zero_label makes label 0 to 255, but model.decode_head.ignore_index=0']),
    ({'val_dataloader.dataset.reduce_zero_label': True, 'val_evaluator.ignore_index': 0},
     ['val_dataloader.dataset: reduce_zero_label makes label 0 to 255, but val_evaluator.ignore_index=0']),
    ({'val_evaluator.ignore_index': 0}, []),  # scores without the first class
    ({'model.decode_head.ignore_index': None}, []),
    ({'model.decode_head.loss_decode': dict(_delete_=True, type='TverskyLoss'), 'model.decode_head.ignore_index': 0,
      'model.data_preprocessor.seg_pad_val': 0, 'val_evaluator.ignore_index': 0},
     ['model.decode_head.loss_decode.ignore_index=255, but model.decode_head.ignore_index=0: make them the same']),
])
def test_ignored_labels(options, lines):
    found = problems(own_data(options))
    assert len(found) == len(lines) and all(line in f for line, f in zip(lines, found)), found


def test_images_of_one_size_are_not_padded():
    cfg = own_data({'model.decode_head.ignore_index': 0, 'val_evaluator.ignore_index': 0})
    assert len(problems(cfg)) == 1
    cfg.train_dataloader.dataset.pipeline.pop(2)  # RandomResize
    assert problems(cfg) == []


@pytest.mark.parametrize('test_cfg, message', [
    (dict(mode='slide', crop_size=(64, 64), stride=(96, 64)),
     'model.test_cfg.stride=(96, 64) exceeds crop_size=(64, 64): no window would see the pixels between'),
    (dict(mode='slide', crop_size=64, stride=(64, 65)), 'stride=(64, 65) exceeds crop_size=(64, 64)'),
    (dict(mode='slide', crop_size=(64, 64), stride=(0, 64)), 'test_cfg.stride=(0, 64): it is a height and a width'),
    (dict(mode='slide', crop_size=(64, 64)), "model.test_cfg needs stride for mode='slide'"),
    (dict(mode='slide', crop_size=(64., 64), stride=(64, 64)), 'crop_size=(64.0, 64): it is a height and a width'),
    (dict(mode='sliding'), "model.test_cfg.mode='sliding': it is one of"),
    (dict(mode='whole', batch_windows=0), 'model.test_cfg.batch_windows=0: it is a positive integer'),
    (dict(keep_logits='yes'), "model.test_cfg.keep_logits='yes': it is one of"),
    (dict(mode='slide', crop_size=64, stride=64, val=dict(stride=65)), 'model.test_cfg with its val.stride=(65, 65)'),
    (dict(mode='slide', crop_size=64, stride=(64, 64)), None),
    (dict(mode='slide', crop_size=(64, 64), stride=(64, 32)), None), (dict(), None),
    (dict(mode='whole', crop_size=None, stride=None), None), (dict(mode='whole', stride=(99, 99)), None),
])
def test_sliding_windows(test_cfg, message):
    cfg = config(SEG, {'model.test_cfg': dict(_delete_=True, **test_cfg)})
    found = problems(cfg)
    assert (found == []) if message is None else (len(found) == 1 and message in found[0])
    tta = Config(dict(cfg, model=dict(type='mmwhitebox.SegTTAModel', module=cfg.model)))
    assert len(problems(tta, ('test', ))) == len(found)


def test_a_segmentor_of_mmseg_needs_a_mode():
    cfg = config(SEG, {'model.type': 'EncoderDecoder', 'model.test_cfg': dict(_delete_=True)})
    assert 'model.test_cfg has no mode, which model (EncoderDecoder) needs' in problems(cfg)[0]
    cfg.model.test_cfg = dict(mode='slide', crop_size=(8, 8), stride=8)
    assert 'stride=8 must be a pair of positive integers: stride=(8, 8)' in problems(cfg)[0]


EPOCHS = dict(_delete_=True, type='EpochBasedTrainLoop', max_epochs=1)


@pytest.mark.parametrize('options, message', [
    ({'train_cfg': EPOCHS},
     'train_dataloader.sampler (InfiniteSampler) never ends, so neither would the first epoch of '
     "train_cfg (EpochBasedTrainLoop): take sampler=dict(type='DefaultSampler', shuffle=True), or "
     'train_cfg=dict(type='),
    ({'train_cfg': dict(_delete_=True, by_epoch=True, max_epochs=1)}, 'never ends'),
    ({'val_dataloader.sampler': dict(type='InfiniteSampler')}, 'so neither would the validation'),
    ({'train_cfg.max_iters': 0}, 'train_cfg.max_iters=0 must be a positive integer'),
    ({'train_cfg.max_iters': 2.5}, 'train_cfg.max_iters=2.5 must be'),
    ({'train_cfg.val_interval': 0}, 'train_cfg.val_interval=0 must be'),
    ({'train_cfg': {**EPOCHS, 'max_epochs': -1}, 'train_dataloader.sampler.type': 'DefaultSampler'}, 'max_epochs=-1'),
    ({'train_dataloader.batch_size': 0}, 'train_dataloader.batch_size=0 must be a positive integer'),
    ({'val_dataloader.num_workers': -1}, 'val_dataloader.num_workers=-1 must be 0'),
    ({'train_dataloader.num_workers': 0},
     'train_dataloader: num_workers=0 has no worker, so leave out persistent_workers=True, or set num_workers=1.'),
    ({'train_dataloader.num_workers': 0, 'train_dataloader.persistent_workers': False,
      'train_dataloader.prefetch_factor': 2}, 'leave out prefetch_factor=2'),
    ({'train_dataloader.num_workers': 0, 'train_dataloader.persistent_workers': False}, None),
    ({'train_cfg': EPOCHS, 'train_dataloader.sampler.type': 'DefaultSampler'}, None),
    ({'train_dataloader.sampler.type': 'DefaultSampler'}, None), ({'train_cfg.max_iters': 3.}, None),
    ({'train_dataloader.batch_sampler': dict(type='AspectRatioBatchSampler'),
      'train_dataloader.batch_size': None}, None),
])
def test_loops_and_loaders(options, message):
    found = problems(config(SEG, options))
    assert (found == []) if message is None else (len(found) == 1 and message in found[0]), found


@pytest.mark.parametrize('name, options, message', [
    (SEG, {'val_evaluator.iou_metrics': ['mDice']},
     "default_hooks.checkpoint.save_best='mIoU', but val_evaluator (IoUMetric) gives aAcc, mAcc, mDice: choose one of"),
    (SEG, {'val_evaluator.prefix': 'val'}, "gives val/aAcc, val/mAcc, val/mIoU: write 'val/mIoU'."),
    (SEG, {'val_evaluator.iou_metrics': ['mFscore'], 'default_hooks.checkpoint.save_best': 'mFscore'},
     "whether more or less of it is better is not known: add default_hooks.checkpoint.rule='greater' or 'less'."),
    (SEG, {'val_evaluator.iou_metrics': ['mFscore'], 'default_hooks.checkpoint.save_best': 'mFscore',
           'default_hooks.checkpoint.rule': 'greater'}, None),
    (SEG, {'default_hooks.checkpoint.rule': 'larger'}, "default_hooks.checkpoint.rule='larger': rule must be"),
    (SEG, {'default_hooks.checkpoint.save_best': ['mIoU', 'mDice']}, "checkpoint.save_best.1='mDice', but"),
    (SEG, {'default_hooks.checkpoint.save_best': 'auto'}, None),
    (SEG, {'default_hooks.checkpoint.save_best': None}, None),
    (SEG, {'val_evaluator.iou_metrics': ['IoU']}, 'val_evaluator.iou_metrics: there is no IoU; there are mIoU, mDice'),
    (SEG, {'val_evaluator.iou_metrics': ['mIoU', 'mBoundaryF'], 'val_evaluator.bootstrap': 500,
           'default_hooks.checkpoint.save_best': 'mBoundaryF_low', 'default_hooks.checkpoint.rule': 'greater'}, None),
    (SEG, {'val_evaluator': dict(_delete_=True, type='mmseg.IoUMetric', iou_metrics=['mIoU', 'mBoundaryF'])},
     "there is no mBoundaryF; there are mIoU, mDice, mFscore. type='mmwhitebox.IoUMetric' has it."),
    (SEG, {'val_evaluator': dict(_delete_=True, type='mmwhitebox.PerClassIoUMetric'),
           'default_hooks.checkpoint.save_best': 'IoU.wall', 'default_hooks.checkpoint.rule': 'greater'}, None),
    (SEG, {'val_evaluator': [dict(type='IoUMetric'), dict(type='CityscapesMetric', output_dir='x')],
           'default_hooks.checkpoint.save_best': 'whatever_acc'}, None),  # names that are not known
    (SEG, {'custom_hooks': [dict(type='EarlyStoppingHook', monitor='mDice')]},
     "custom_hooks.0.monitor='mDice', but val_evaluator (IoUMetric) gives aAcc, mAcc, mIoU"),
    (SEG, {'param_scheduler': [dict(type='ReduceOnPlateauLR', monitor='mIou', rule='greater')]},
     "param_scheduler.0.monitor='mIou', but"),
    (CLS, {'default_hooks.checkpoint.save_best': 'top1'}, "gives accuracy/top1, accuracy/top5: write 'accuracy/top1'."),
    (CLS, {'val_evaluator': dict(type='SingleLabelMetric', _delete_=True)},
     'gives single-label/f1-score, single-label/precision, single-label/recall: choose'),
])
def test_names_of_scores(name, options, message):
    found = problems(config(name, options))
    assert (found == []) if message is None else any(message in line for line in found), found


def test_no_validation_no_score():
    cfg = config(SEG, {'default_hooks.checkpoint.save_best': 'mDice'})
    assert len(problems(cfg)) == 1
    cfg.update(val_cfg=None, val_dataloader=None, val_evaluator=None)
    assert problems(cfg) == []


SCORES = torch.tensor([[.6, .3, .1], [.2, .7, .1], [.1, .2, .7]])


@pytest.mark.parametrize('metric', [
    dict(type='Accuracy', topk=(1, 2)), dict(type='Accuracy', topk=2, thrs=(0., None, .5)),
    dict(type='SingleLabelMetric'), dict(type='SingleLabelMetric', average='micro', items=('recall', 'support')),
    dict(type='SingleLabelMetric', average=None, thrs=(.1, .2)), dict(type='MultiLabelMetric'),
    dict(type='MultiLabelMetric', topk=2), dict(type='MultiLabelMetric', thr=.3, average='micro'),
    dict(type='AveragePrecision'), dict(type='AveragePrecision', average=None, prefix='x'),
    dict(type='mmseg.IoUMetric', iou_metrics=['mIoU', 'mFscore']), dict(type='mmseg.IoUMetric', iou_metrics='mDice'),
    dict(type='mmwhitebox.IoUMetric'), dict(type='mmwhitebox.PerClassIoUMetric', prefix='seg'),
    dict(type='mmwhitebox.IoUMetric', iou_metrics=['mFscore', 'mBoundaryF'], bootstrap=100),
])
def test_the_names_are_those_that_a_metric_gives(metric):
    init_default_scope('mmpretrain')
    evaluator = Evaluator(METRICS.build(dict(metric)))
    evaluator.dataset_meta = dict(classes=('a', 'b', 'c'))
    maps = torch.tensor([[0, 1], [1, 2]])
    evaluator.process([dict(
        pred_score=score, gt_label=torch.tensor([i]), gt_score=torch.eye(3)[i], pred_sem_seg=dict(data=maps),
        gt_sem_seg=dict(data=maps)) for i, score in enumerate(SCORES)])
    part = make_part('val_evaluator', metric, METRICS)
    prefix = metric.get('prefix') or part.cls.default_prefix
    names = metric_scores(part, ['a', 'b', 'c'])
    assert {f'{prefix}/{name}' if prefix else name for name in names} == set(evaluator.evaluate(3))


def test_all_problems_come_in_one_message():
    cfg = own_data({'model.decode_head.num_classes': 150, 'train_cfg.max_iters': 0, 'train_dataloader.batch_size': -1})
    assert len(problems(cfg)) == 3

    def data():
        raise DatasetLayoutError('no folder')

    with pytest.raises(ConfigError) as caught:
        raise_together(lambda: check_consistency(cfg), data)
    assert len(str(caught.value).splitlines()) == 5 and str(caught.value).endswith('no folder')
    with pytest.raises(DatasetLayoutError):
        raise_together(data, lambda: None)


@pytest.mark.parametrize('base, options, message', [
    (SEG, {'train_dataloader.timeout': 'a'}, 'train_dataloader: '),
    (SEG, {'val_evaluator.iou_metrics': 3}, "val_evaluator.iou_metrics"),
    (CLS, {'val_evaluator.topk': '1'}, "val_evaluator.topk='1' must be an integer or a list of integers."),
    (SEG, {'train_cfg.max_iters': float('inf')}, 'train_cfg.max_iters=inf must be a positive integer'),
    (SEG, {'train_cfg.val_interval': float('inf')}, None)])
def test_values_of_other_types_are_one_line(base, options, message):
    found = problems(config(base, options))
    assert found == [] if message is None else any(message in line for line in found)


SIMDINO = 'simdino/simdino_mini_imagenet.py'
ONE_VIEW = [dict(type='mmwhitebox.LoadImage'), dict(type='RandomResizedCrop', scale=64), dict(type='PackInputs')]


@pytest.mark.parametrize('options, message', [
    ({'train_dataloader.dataset.pipeline': ONE_VIEW},
     'train_dataloader: the pipeline gives 1 view of an image, but model (SimDINO) compares two at least: put its '
     'steps into MultiView, with num_views=[1, 1].'),
    ({'train_dataloader.dataset.pipeline': [ONE_VIEW[0], dict(
        type='MultiView', num_views=1, transforms=[ONE_VIEW[1:2]]), ONE_VIEW[2]]},
     'put its steps into train_dataloader.dataset.pipeline.1, with num_views=[1, 1].'),
    ({'train_dataloader.collate_fn': dict(type='pseudo_collate')},
     "train_dataloader.collate_fn: model (SimDINO) takes batches view by view: set collate_fn=dict(type="
     "'default_collate')."),
    ({'optim_wrapper.accumulative_counts': 4},
     'optim_wrapper.accumulative_counts=4, but model.update_interval=1: the teacher follows after every step of the '
     'student, so set model.update_interval=4.'),
])
def test_views_and_steps_of_a_teacher(options, message):
    found = problems(config(SIMDINO, options))
    assert len(found) == 1 and message in found[0]


@pytest.mark.parametrize('options', [
    {'optim_wrapper.accumulative_counts': 4, 'model.update_interval': 4},
    {'train_dataloader.dataset.pipeline': [ONE_VIEW[0], dict(
        type='MultiView', num_views=2, transforms=[ONE_VIEW[1:2]]), ONE_VIEW[2]]},
    {'train_dataloader.dataset.pipeline': [dict(type='MyViews')]}, {'train_dataloader.collate_fn.type': 'my_collate'},
])
def test_views_that_may_be_right_are_left_alone(options):
    assert not problems(config(SIMDINO, options))
