# ImageNet-1k for SimDINO: 2 global crops of 224 and 8 local ones of 96 (**reading**: the published command for ViT-B
# has 10), in DINO's colours; no labels, so nothing is validated. Batch 512 in all: 8 processes of 64.
_base_ = './imagenet_224.py'
colours = [
    dict(type='RandomFlip', prob=0.5, direction='horizontal'),
    dict(
        type='RandomApply',
        transforms=dict(type='ColorJitter', brightness=0.4, contrast=0.4, saturation=0.2, hue=0.1),
        prob=0.8),
    dict(type='RandomGrayscale', prob=0.2, keep_channels=True, channel_weights=(0.114, 0.587, 0.2989))
]
blur = dict(type='GaussianBlur', magnitude_range=(0.1, 2.0), magnitude_std='inf')
crop = dict(type='RandomResizedCrop', backend='pillow', interpolation='bicubic')
first_global = [dict(crop, scale=224, crop_ratio_range=(0.4, 1.0)), *colours, dict(blur, prob=1.0)]
second_global = [
    dict(crop, scale=224, crop_ratio_range=(0.4, 1.0)), *colours,
    dict(blur, prob=0.1),
    dict(type='Solarize', thr=128, prob=0.2)
]
local = [dict(crop, scale=96, crop_ratio_range=(0.05, 0.4)), *colours, dict(blur, prob=0.5)]
train_pipeline = [
    dict(type='mmwhitebox.LoadImage'),
    dict(type='MultiView', num_views=[1, 1, 8], transforms=[first_global, second_global, local]),
    dict(type='PackInputs')
]
train_dataloader = dict(
    batch_size=64,
    drop_last=True,
    collate_fn=dict(type='default_collate'),  # view by view
    dataset=dict(pipeline=train_pipeline))
val_dataloader = None
val_evaluator = None
test_dataloader = None
test_evaluator = None
