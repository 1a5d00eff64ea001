# CamVid at half its size, 240 x 180, from scratch, at a budget that two CPU cores can afford fifteen times: a CBT
# encoder of width 128 and depth 4 on patches of 8 x 8, 1000 iterations of 8 crops, in bfloat16.
_base_ = ['../../../../configs/_base_/datasets/camvid.py', '../../../../configs/_base_/default_runtime.py']
model = dict(
    type='mmwhitebox.EncoderDecoder',
    data_preprocessor=dict(
        type='SegDataPreProcessor',
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
        pad_val=0,
        seg_pad_val=255,
        size=(176, 176),
        test_cfg=dict(size_divisor=8)),
    backbone=dict(
        type='mmwhitebox.WhiteBoxTransformer',
        arch=dict(
            embed_dims=128, num_layers=4, num_heads=4, attention=dict(type='CBSA'), feedforward=dict(type='ISTA')),
        img_size=176,
        patch_size=8,
        out_type='featmap'),
    test_cfg=dict(mode='whole'))
train_pipeline = [
    dict(type='mmwhitebox.LoadImage'),
    dict(type='mmwhitebox.LoadSegAnnotation', num_classes=11),
    dict(type='RandomResize', scale=(240, 180), ratio_range=(1.0, 2.0), keep_ratio=True),
    dict(type='RandomCrop', crop_size=(176, 176), cat_max_ratio=0.75),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PhotoMetricDistortion'),
    dict(type='PackSegInputs')
]
test_pipeline = [
    dict(type='LoadImageFromFile', _scope_='mmwhitebox'),
    dict(type='Resize', scale=(240, 180), keep_ratio=True),
    dict(type='LoadAnnotations', _scope_='mmwhitebox', num_classes=11),  # after Resize: scored at full size
    dict(type='PackSegInputs')
]
tta_pipeline = [
    dict(type='mmwhitebox.LoadImage'),
    dict(
        type='TestTimeAug',
        transforms=[
            [dict(type='Resize', scale=(int(240 * r), int(180 * r)), keep_ratio=True)
             for r in (1.0, 1.25, 1.5, 1.75, 2.0)],  # the scales of the training
            [dict(type='RandomFlip', prob=p, direction='horizontal') for p in (0., 1.)],
            [dict(type='mmwhitebox.LoadSegAnnotation', num_classes=11)],
            [dict(type='PackSegInputs')],
        ])
]
train_dataloader = dict(num_workers=0, persistent_workers=False, dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(batch_size=4, num_workers=0, persistent_workers=False, dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
val_evaluator = dict(_delete_=True, type='mmwhitebox.PerClassIoUMetric', iou_metrics=['mIoU'])
test_evaluator = val_evaluator
optim_wrapper = dict(
    type='mmwhitebox.BFloat16OptimWrapper',
    optimizer=dict(type='AdamW', fused=True, lr=1e-3, weight_decay=0.05),
    clip_grad=dict(max_norm=1.),
    paramwise_cfg=dict(norm_decay_mult=0., bias_decay_mult=0., flat_decay_mult=0.))
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-3, begin=0, end=100, by_epoch=False),
    dict(type='PolyLR', eta_min=0., power=0.9, begin=100, end=1000, by_epoch=False)
]
train_cfg = dict(type='IterBasedTrainLoop', max_iters=1000, val_interval=250)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
auto_scale_lr = dict(enable=False, base_batch_size=8)
default_hooks = dict(
    logger=dict(interval=25),
    checkpoint=dict(interval=500, max_keep_ckpts=1, save_best=None))
randomness = dict(seed=0)
