# ImageNet-1k, random crops of 224, flips and RandAugment (2 operations, magnitude 9, the increasing ones).
# Batch 4096 in all: 8 processes of 512.
_base_ = './imagenet_224.py'
train_pipeline = [
    dict(type='mmwhitebox.LoadImage'),
    dict(type='RandomResizedCrop', scale=224, backend='pillow', interpolation='bilinear'),
    dict(type='RandomFlip', prob=0.5, direction='horizontal'),
    dict(
        type='RandAugment',
        policies='timm_increasing',
        num_policies=2,
        total_level=10,
        magnitude_level=9,
        hparams=dict(pad_val=[104, 116, 124], interpolation='bicubic')),
    dict(type='PackInputs')
]
train_dataloader = dict(batch_size=512, dataset=dict(pipeline=train_pipeline))
