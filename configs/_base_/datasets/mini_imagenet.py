# Miniature in the layout of ImageNet: tools/make_mini_imagenet.py --out data/mini_imagenet
dataset_type = 'CustomDataset'
data_root = '{{$MINI_IMAGENET_ROOT:data/mini_imagenet}}'
classes = ('bed', 'car', 'curtain', 'house', 'lamp', 'painting', 'person', 'table', 'tent', 'tower', 'tree',
           'window')
train_pipeline = [
    dict(type='mmwhitebox.LoadImage'),
    dict(type='RandomResizedCrop', scale=64, crop_ratio_range=(0.6, 1.0), aspect_ratio_range=(0.9, 1.1)),
    dict(type='RandomFlip', prob=0.5, direction='horizontal'),
    dict(type='PackInputs')
]
test_pipeline = [
    dict(type='LoadImageFromFile', _scope_='mmwhitebox'),
    dict(type='Resize', scale=(64, 64)),
    dict(type='PackInputs')
]
train_dataloader = dict(
    batch_size=32,  # per process
    num_workers=1,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        data_prefix='train',
        metainfo=dict(classes=classes),
        pipeline=train_pipeline))
val_dataloader = dict(
    batch_size=64,
    num_workers=1,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        data_prefix='val',
        metainfo=dict(classes=classes),
        pipeline=test_pipeline))
test_dataloader = val_dataloader
val_evaluator = dict(type='Accuracy', topk=(1, 5))
test_evaluator = val_evaluator
