# SVHN at its own size, 32, fetched if it is not there; digits are not flipped.
# Batch 512 in all: 8 processes of 64.
_base_ = './cifar10_32.py'
dataset_type = 'mmwhitebox.SVHN'
data_root = '{{$SVHN_ROOT:data/svhn}}'
train_pipeline = [
    dict(type='mmwhitebox.LoadImage'),
    dict(type='RandomCrop', crop_size=32, padding=4),
    dict(type='PackInputs')
]
train_dataloader = dict(dataset=dict(type=dataset_type, data_root=data_root, pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(type=dataset_type, data_root=data_root))
test_dataloader = val_dataloader
