# SVHN enlarged to 224, fetched if it is not there; digits are not flipped.
# Batch 256 in all: 8 processes of 32.
_base_ = './cifar10_224.py'
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
train_dataloader = dict(dataset=dict(type=dataset_type, data_root=data_root, pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(type=dataset_type, data_root=data_root))
test_dataloader = val_dataloader
