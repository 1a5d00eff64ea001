# SVHN enlarged to 224, fetched if it is not there; digits are not flipped.
# Batch 256 in all: 8 processes of 32.
dataset_type = 'mmwhitebox.SVHN'
data_root = '{{$SVHN_ROOT:data/svhn}}'
train_pipeline = [
    dict(type='mmwhitebox.LoadImage'),
    dict(type='RandomResizedCrop', scale=224, backend='pillow', interpolation='bicubic'),
    dict(
        type='RandAugment',  # (2, 14): **reading**, timm's operations and 14 of 30 levels
        policies='timm_increasing',
        num_policies=2,
        total_level=30,
        magnitude_level=14,
        hparams=dict(pad_val=[104, 116, 124], interpolation='bicubic')),
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
