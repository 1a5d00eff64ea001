# Images and masks of one's own. own_data says where they lie and what the masks mean; the number of classes follows
# from it everywhere. recipe says the model and the sizes, train_cfg the length, which the schedule follows.
# `mmwhitebox new FOLDER` writes a config on top of this one; mmwhitebox/config/own_data.py is where it is filled in.
_base_ = ['../default_runtime.py', '../schedules/own_data.py']
own_data = dict(root=None)
recipe = dict(model='cbt_decoder_cbt_mini', crop=256, scale=(512, 512))
train_pipeline = [
    dict(type='mmwhitebox.LoadImage'),
    dict(type='mmwhitebox.LoadSegAnnotation'),
    dict(type='RandomResize', scale=(512, 512), ratio_range=(0.5, 2.0), keep_ratio=True),
    dict(type='RandomCrop', crop_size=(256, 256), cat_max_ratio=0.95),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PhotoMetricDistortion'),
    dict(type='PackSegInputs')
]
test_pipeline = [
    dict(type='LoadImageFromFile', _scope_='mmwhitebox'),
    dict(type='Resize', scale=(512, 512), keep_ratio=True),
    dict(type='LoadAnnotations', _scope_='mmwhitebox'),  # after Resize: scored at full size
    dict(type='PackSegInputs')
]
train_dataloader = dict(
    batch_size=8,  # per process
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type='InfiniteSampler', shuffle=True),
    dataset=dict(type='mmwhitebox.FolderSegDataset', split='train', pipeline=train_pipeline))
val_dataloader = dict(
    batch_size=1,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(type='mmwhitebox.FolderSegDataset', split='val', pipeline=test_pipeline))
test_dataloader = val_dataloader
val_evaluator = dict(type='mmwhitebox.IoUMetric', iou_metrics=['mIoU'])
test_evaluator = val_evaluator
tta_model = dict(type='mmwhitebox.SegTTAModel')
tta_pipeline = [
    dict(type='mmwhitebox.LoadImage'),
    dict(type='Resize', scale=(512, 512), keep_ratio=True),
    dict(
        type='TestTimeAug',
        transforms=[
            [dict(type='Resize', scale_factor=r, keep_ratio=True) for r in (0.75, 1.0, 1.25)],
            [dict(type='RandomFlip', prob=p, direction='horizontal') for p in (0., 1.)],
            [dict(type='mmwhitebox.LoadSegAnnotation')],
            [dict(type='PackSegInputs')],
        ])
]
