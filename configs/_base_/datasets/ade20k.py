# ADE20K (SceneParse150), crop 512. Batch 8 in all: 8 processes of 1.
dataset_type = 'ADE20KDataset'
data_root = '{{$ADE20K_ROOT:data/ade/ADEChallengeData2016}}'
train_pipeline = [
    dict(type='mmwhitebox.LoadImage'),
    dict(type='mmwhitebox.LoadSegAnnotation', num_classes=150),
    dict(type='RandomResize', scale=(2048, 512), ratio_range=(0.5, 2.0), keep_ratio=True),
    dict(type='RandomCrop', crop_size=(512, 512), cat_max_ratio=0.75),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PhotoMetricDistortion'),
    dict(type='PackSegInputs')
]
test_pipeline = [
    dict(type='LoadImageFromFile', _scope_='mmwhitebox'),
    dict(type='Resize', scale=(2048, 512), keep_ratio=True),
    dict(type='LoadAnnotations', _scope_='mmwhitebox', num_classes=150),  # after Resize: scored at full size
    dict(type='PackSegInputs')
]
train_dataloader = dict(
    batch_size=1,  # per process
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='InfiniteSampler', shuffle=True),
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        data_prefix=dict(img_path='images/training', seg_map_path='annotations/training'),
        pipeline=train_pipeline))
val_dataloader = dict(
    batch_size=1,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        data_prefix=dict(img_path='images/validation', seg_map_path='annotations/validation'),
        pipeline=test_pipeline))
test_dataloader = val_dataloader
val_evaluator = dict(type='mmwhitebox.IoUMetric', iou_metrics=['mIoU'])
test_evaluator = val_evaluator

# Multi-scale + flip at test time: mmwhitebox test CONFIG CHECKPOINT --tta
tta_model = dict(type='mmwhitebox.SegTTAModel')
tta_pipeline = [
    dict(type='mmwhitebox.LoadImage'),
    dict(
        type='TestTimeAug',
        transforms=[
            [dict(type='Resize', scale=(int((2048, 512)[0] * r), int((2048, 512)[1] * r)), keep_ratio=True)
             for r in (0.5, 0.75, 1.0, 1.25, 1.5, 1.75)],
            [dict(type='RandomFlip', prob=p, direction='horizontal') for p in (0., 1.)],
            [dict(type='mmwhitebox.LoadSegAnnotation', num_classes=150)],
            [dict(type='PackSegInputs')],
        ])
]
