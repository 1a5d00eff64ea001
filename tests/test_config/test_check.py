"""Mistakes of a config are named, with a proposal, before anything is built; what works passes."""
from contextlib import nullcontext

import pytest
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope
from mmengine.visualization import Visualizer
from mmseg.models import FCNHead
from torch import nn

from mmwhitebox.config.check import check_config
from mmwhitebox.config.errors import named_build_errors
from mmwhitebox.config.signatures import accepted_arguments, annotated_kinds
from mmwhitebox.errors import ConfigError, DatasetLayoutError
from mmwhitebox.models.decode_heads import WhiteBoxMaskHead
from tests.configs import config, reduced

SEG, CLS = 'cbt_decoder/cbt_decoder_mini_ade20k.py', 'cbt/cbt_mini_imagenet.py'


@pytest.mark.parametrize('name, options, message', [
    (SEG, {'model.decode_head.atention': 1}, "model.decode_head.atention: unknown key; did you mean 'attention'?"),
    (SEG, {'model.decode_head.num_layers': '3'}, "decode_head.num_layers: WhiteBoxMaskHead takes int here, got '3'"),
    (SEG, {'model.decode_head.qqq': 1}, 'decode_head.qqq: unknown key; WhiteBoxMaskHead takes act_cfg, align_corners'),
    (SEG, {'model.decode_head.attention.type': 'CBSAA'}, "unknown type 'CBSAA'; did you mean 'CBSA'?"),
    (SEG, {'model.decode_head.dropout_ratio': .1}, 'model.decode_head.dropout_ratio: unknown key'),  # the head sets it
    (SEG, {'model.backbone': 'vit'}, "model.backbone: must be a dict with a type, got 'vit'"),
    (SEG, {'model.test_cfg.mod': 'whole'}, "model.test_cfg.mod: unknown key; did you mean 'mode'?"),
    (SEG, {'model.data_preprocessor.test_cfg.size_diviser': 8}, "did you mean 'size_divisor'?"),
    (SEG, {'optim_wrapper.optimizer.lr': 'fast'}, "optim_wrapper.optimizer.lr: AdamW takes"),
    (SEG, {'optim_wrapper.clip_grad.max_nrm': 1}, "did you mean 'max_norm'?"),
    (SEG, {'param_scheduler.0.begn': 1}, "param_scheduler.0.begn: unknown key; did you mean 'begin'?"),
    (SEG, {'train_dataloader.batchsize': 1}, "train_dataloader.batchsize: unknown key; did you mean 'batch_size'?"),
    (SEG, {'train_dataloader.dataset.pipeline.2.keep_ration': 1}, "pipeline.2.keep_ration: unknown key"),
    (SEG, {'train_dataloder': dict(batch_size=1)}, "train_dataloder: unknown key; did you mean 'train_dataloader'?"),
    (SEG, {'train_cfg.max_iter': 1}, "train_cfg.max_iter: unknown key; did you mean 'max_iters'?"),
    (SEG, {'default_hooks.checkpont': dict(interval=1)}, "default_hooks.checkpont: unknown key; did you mean"),
    (SEG, {'default_hooks.checkpoint.max_keep_ckpt': 1}, "did you mean 'max_keep_ckpts'?"),
    (SEG, {'randomness.sed': 1}, "randomness.sed: unknown key; did you mean 'seed'?"),
    (CLS, {'model.backbone.arch.embed_dim': 1}, "arch.embed_dim: unknown key; did you mean 'embed_dims'?"),
    (CLS, {'model.backbone.arch.attention.pool_sze': 1}, "attention.pool_sze: unknown key; did you mean 'pool_size'?"),
    (CLS, {'optim_wrapper.type': 'BFloat16OptimWrapper'},
     "unknown type 'BFloat16OptimWrapper'; did you mean 'mmwhitebox.BFloat16OptimWrapper'?"),
    (CLS, {'model.head.loss.type': 'FocalLos'}, "loss.type: unknown type 'FocalLos'; did you mean 'FocalLoss'?"),
    (CLS, {'optim_wrapper.paramwise_cfg.custom_keys.cls_token.decay_mul': 0}, "did you mean 'decay_mult'?"),
    (SEG, {'custom_hooks': ["dict(type='EMAHook')"]}, 'custom_hooks.0: must be a dict with a type, got "dict(type='),
    (SEG, {'param_scheduler': [3]}, 'param_scheduler.0: must be a dict with a type, got 3'),
    (CLS, {'val_evaluator.topkk': 1}, "val_evaluator.topkk: unknown key; did you mean 'topk'?"),
])
def test_mistakes_are_named(name, options, message):
    cfg = config(name)
    cfg.merge_from_dict(options)
    with pytest.raises(ConfigError) as caught:
        check_config(cfg)
    assert message in str(caught.value) and name in str(caught.value)


@pytest.mark.parametrize('options', [
    {'optim_wrapper.paramwise_cfg': dict(custom_keys={
        'backbone': dict(lr_mult=0.1), 'head': dict(lr_mult=10.), 'decode_head': dict(lr_mult=10., decay_mult=0.)})},
    {'train_dataloader.dataset.data_prefix.depth_map_path': 'depths'},
    {'train_dataloader.dataset.pipeline': [
        dict(type='LoadImageFromFile'),
        dict(type='Albu', transforms=[dict(type='Resize', height=64, width=64), dict(type='HorizontalFlip', p=1)]),
        dict(type='mmpretrain.RandAugment', policies=[dict(type='Rotate', magnitude_key='angle',
                                                           magnitude_range=(0, 30))],
             num_policies=1, magnitude_level=9)]},
    {'train_cfg2': dict(type='IterBasedTrainLoop', max_iters=9), 'train_cfg': dict(type='IterBasedTrainLoop',
                                                                                   max_iters=9)},
    {'mode': 'slide', 'resume_from_here': True, 'optimiser': dict(type='AdamW', lr=1e-3)},
    {'optimizer': dict(type='SGD', betas=(.9, .99))},  # a variable
    {'default_hooks.checkpoints': dict(type='CheckpointHook', interval=3)},  # one more hook
    {'optim_wrapper.constructor': 'LearningRateDecayOptimizerConstructor', 'optim_wrapper.paramwise_cfg': dict(
        num_layers=12, layer_decay_rate=0.9, decay_type='layer_wise')},
    {'model.decode_head.norm_cfg': dict(type='BN', requires_grad=False)},
    {'val_dataloader': None, 'val_cfg': None, 'val_evaluator': None},
    {'train_cfg': dict(max_iters=9)}, {'train_cfg': dict(by_epoch=True, max_epochs=9)},
])
def test_what_mmengine_accepts_passes(options):
    cfg = config(SEG)
    for key, value in options.items():
        parent, _, name = key.rpartition('.')
        node = cfg
        for part in parent.split('.') if parent else ():
            node = node[part]
        node[name] = value
    check_config(cfg)


@pytest.mark.parametrize('key, value, near', [
    ('trian_cfg', dict(max_iters=9), 'train_cfg'), ('tets_cfg', dict(), 'test_cfg'),
    ('train_dataloaders', dict(batch_size=9), 'train_dataloader'), ('models', dict(type='A'), 'model'),
    ('resme', True, 'resume'), ('lod_from', 'a.pth', 'load_from'), ('custom_hook', [dict(type='EMAHook')],
                                                                     'custom_hooks')])
def test_near_misses_at_the_top(key, value, near):
    cfg = config(SEG)
    cfg[key] = value
    with pytest.raises(ConfigError, match=f'{key}: unknown key; did you mean {near!r}'):
        check_config(cfg)


@pytest.mark.parametrize('word, message', [
    ('momentum', None), ('momentm', "momentm: unknown key; did you mean 'momentum'")])
def test_classes_of_the_read_base_dialect(tmp_path, word, message):
    (tmp_path / 'lazy.py').write_text(f"""
from torch.optim import SGD
from mmengine.optim import OptimWrapper
with read_base():
    from mmwhitebox.configs.cbt_decoder.cbt_decoder_mini_ade20k import *
optim_wrapper.update(type=OptimWrapper, optimizer=dict(type=SGD, lr=1e-3, {word}=0.9))
""")
    cfg = Config.fromfile(tmp_path / 'lazy.py')
    with nullcontext() if message is None else pytest.raises(ConfigError, match=message):
        check_config(cfg)


def test_a_test_does_not_read_what_a_training_builds():
    cfg = Config(dict(model=dict(type='EncoderDecoder', backbone=None), train_cfg=dict(max_epochs=1)))
    with pytest.raises(ConfigError, match=r'train_cfg\.max_epochs: unknown key; IterBasedTrainLoop takes'):
        check_config(cfg)
    check_config(cfg, training=False)


def test_all_mistakes_come_at_once():
    cfg = Config(dict(model=dict(type='EncoderDecode'), train_cfg=dict(by_epoch=True, max_epoch=1), resum=True))
    with pytest.raises(ConfigError) as caught:
        check_config(cfg)
    assert [line.split(':')[0].strip() for line in str(caught.value).splitlines()[1:]] == [
        'resum', 'model.type', 'train_cfg.max_epoch']


def test_variables_classes_and_open_ended_arguments_pass():
    cfg = config(SEG)
    cfg.merge_from_dict(dict(my_crop=3, norm_cfg=dict(type='BN', requires_grad=True), train_dataloader_small=1,
                             custom_hooks=[dict(type='EMAHook', momentum=1e-3, priority=49)],
                             model_wrapper_cfg=dict(type='MMDistributedDataParallel', find_unused_parameters=True)))
    cfg.model.decode_head.type = WhiteBoxMaskHead
    cfg.model.decode_head.loss_decode = [cfg.model.decode_head.loss_decode] * 2
    check_config(cfg)


def test_arguments_are_followed_through_the_bases():
    assert {'num_convs', 'in_channels', 'loss_decode'} <= set(accepted_arguments(FCNHead).known)
    assert not accepted_arguments(FCNHead).open_ended and 'name' in accepted_arguments(Visualizer).known

    class Forwards(nn.Linear):
        def __init__(self, colour, **kwargs):
            self.shade = kwargs.pop('shade', None)
            super().__init__(bias=False, **kwargs)

    class Uses(nn.Linear):
        def __init__(self, **kwargs):
            super().__init__(1, 2)
            self.options = dict(kwargs)

    known = accepted_arguments(Forwards)
    assert set(known.known) == {'colour', 'shade', 'in_features', 'out_features', 'device', 'dtype'}
    assert not known.open_ended and accepted_arguments(Uses).open_ended


@pytest.mark.parametrize('annotation, kinds', [
    (int, {'int'}), (int | None, {'int', 'None'}), (tuple[int, int], {'list'}), (float | list, {'float', 'list'}),
    (int | nn.Module, set()), (dict, {'dict'}), ('unknown', set())])
def test_annotations(annotation, kinds):
    assert annotated_kinds(annotation) == kinds


def test_errors_of_constructors_name_the_part():
    cfg = reduced(SEG)
    cfg.model.decode_head.attention.head_dims = -4
    init_default_scope('mmseg')
    with pytest.raises(ConfigError) as caught, named_build_errors(cfg):
        MODELS.build(cfg.model)
    message = str(caught.value)
    assert message.startswith('model.decode_head.attention (') and 'mmwhitebox.WhiteBoxMaskHead > CBSA)' in message
    assert caught.value.__cause__ is not None and '.py:' in message


def test_other_errors_pass():
    cfg = reduced(SEG)
    with pytest.raises(ZeroDivisionError), named_build_errors(cfg):
        raise ZeroDivisionError('not of a constructor')
    with pytest.raises(DatasetLayoutError), named_build_errors(cfg):
        raise DatasetLayoutError('no data')
