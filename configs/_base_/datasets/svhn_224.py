# SVHN enlarged to 224, fetched if it is not there; digits are not flipped.
# Batch 256 in all: 8 processes of 32.
dataset_type = 'mmwhitebox.SVHN'
data_root = '{{$SVHN_ROOT:data/svhn}}'
train_pipeline = [
    dict(type='mmwhitebox.LoadImage'),
    dict(type='Resize', scale=(224, 224), backend='pillow', interpolation='bicubic'),
    dict(type='RandomCrop', crop_size=224, padding=28),
    dict(type='PackInputs')
]
test_pipeline = [
    dict(type='LoadImageFromFile', _scope_='mmwhitebox'),
    dict(type='Resize', scale=(224, 224), backend='pillow', interpolation='bicubic'),
    dict(type='PackInputs')
]
train_dataloader = dict(
    batch_size=32,  # per process
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
