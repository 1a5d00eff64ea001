# CIFAR-10 at its own size, 32, fetched if it is not there. Batch 512 in all: 8 processes of 64.
dataset_type = 'mmwhitebox.CIFAR10'
data_root = '{{$CIFAR10_ROOT:data/cifar10}}'
train_pipeline = [
    dict(type='mmwhitebox.LoadImage'),
    dict(type='RandomCrop', crop_size=32, padding=4),
    dict(type='RandomFlip', prob=0.5, direction='horizontal'),
    dict(type='PackInputs')
]
test_pipeline = [
    dict(type='LoadImageFromFile', _scope_='mmwhitebox'),
    dict(type='Resize', scale=(32, 32)),
    dict(type='PackInputs')
]
train_dataloader = dict(
    batch_size=64,  # per process
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        split='train',
        pipeline=train_pipeline))
val_dataloader = dict(
    batch_size=64,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        split='test',
        pipeline=test_pipeline))
test_dataloader = val_dataloader
val_evaluator = dict(type='Accuracy', topk=(1, 5))
test_evaluator = val_evaluator
