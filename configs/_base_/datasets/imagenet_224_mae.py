# ImageNet-1k for MAE: crops of at least 20 % of the area and flips; no labels, so nothing is validated.
# Batch 4096 in all: 8 processes of 512.
_base_ = './imagenet_224.py'
train_pipeline = [
    dict(type='mmwhitebox.LoadImage'),
    dict(
        type='RandomResizedCrop', scale=224, crop_ratio_range=(0.2, 1.0), backend='pillow', interpolation='bicubic'),
    dict(type='RandomFlip', prob=0.5, direction='horizontal'),
    dict(type='PackInputs')
]
train_dataloader = dict(batch_size=512, dataset=dict(pipeline=train_pipeline))
val_dataloader = None
val_evaluator = None
test_dataloader = None
test_evaluator = None
