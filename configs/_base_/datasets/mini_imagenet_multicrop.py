# The miniature of ImageNet for SimDINO: 2 global crops of 64, 4 local ones of 32; no labels, so nothing is validated.
_base_ = './mini_imagenet.py'
colours = [
    dict(type='RandomFlip', prob=0.5, direction='horizontal'),
    dict(
        type='RandomApply',
        transforms=dict(type='ColorJitter', brightness=0.4, contrast=0.4, saturation=0.2, hue=0.1),
        prob=0.8),
    dict(type='RandomGrayscale', prob=0.2, keep_channels=True, channel_weights=(0.114, 0.587, 0.2989))
]
first_global = [
    dict(type='RandomResizedCrop', scale=64, crop_ratio_range=(0.4, 1.0)), *colours,
    dict(type='GaussianBlur', magnitude_range=(0.1, 2.0), magnitude_std='inf', prob=1.0)
]
second_global = [
    dict(type='RandomResizedCrop', scale=64, crop_ratio_range=(0.4, 1.0)), *colours,
    dict(type='GaussianBlur', magnitude_range=(0.1, 2.0), magnitude_std='inf', prob=0.1),
    dict(type='Solarize', thr=128, prob=0.2)
]
local = [
    dict(type='RandomResizedCrop', scale=32, crop_ratio_range=(0.05, 0.4)), *colours,
    dict(type='GaussianBlur', magnitude_range=(0.1, 2.0), magnitude_std='inf', prob=0.5)
]
train_pipeline = [
    dict(type='mmwhitebox.LoadImage'),
    dict(type='MultiView', num_views=[1, 1, 4], transforms=[first_global, second_global, local]),
    dict(type='PackInputs')
]
train_dataloader = dict(
    batch_size=64, drop_last=True, collate_fn=dict(type='default_collate'), dataset=dict(pipeline=train_pipeline))
val_dataloader = None
val_evaluator = None
test_dataloader = None
test_evaluator = None
