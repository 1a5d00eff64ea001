# Oxford Flowers-102, random crops of 224 and flips. Batch 256 in all: 8 processes of 32.
_base_ = './cifar10_224.py'
dataset_type = 'Flowers102'
data_root = '{{$FLOWERS102_ROOT:data/flowers102}}'
test_pipeline = [
    dict(type='LoadImageFromFile', _scope_='mmwhitebox'),
    dict(type='ResizeEdge', scale=256, edge='short', backend='pillow', interpolation='bicubic'),
    dict(type='CenterCrop', crop_size=224),
    dict(type='PackInputs')
]
train_dataloader = dict(dataset=dict(type=dataset_type, data_root=data_root))
val_dataloader = dict(dataset=dict(type=dataset_type, data_root=data_root, pipeline=test_pipeline))
test_dataloader = val_dataloader
