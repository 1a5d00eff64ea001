# The miniature of ImageNet for SimDINO: 2 global crops of 64 and 4 local ones of 32, in DINO's colours, the blur in
# proportion; what the features tell of the classes is scored, never learned.
_base_ = './mini_imagenet.py'
colours = [
    dict(type='RandomFlip', prob=0.5, direction='horizontal'),
    dict(
        type='RandomApply',
        transforms=dict(type='ColorJitter', brightness=0.4, contrast=0.4, saturation=0.2, hue=0.1),
        prob=0.8),
    dict(type='RandomGrayscale', prob=0.2, keep_channels=True, channel_weights=(0.114, 0.587, 0.2989))
]
blur = dict(type='GaussianBlur', magnitude_range=(0.1, 0.6), magnitude_std='inf')
crop = dict(type='RandomResizedCrop', backend='pillow', interpolation='bicubic')
first_global = [dict(crop, scale=64, crop_ratio_range=(0.4, 1.0)), *colours, dict(blur, prob=1.0)]
second_global = [
    dict(crop, scale=64, crop_ratio_range=(0.4, 1.0)), *colours,
    dict(blur, prob=0.1),
    dict(type='Solarize', thr=128, prob=0.2)
]
local = [dict(crop, scale=32, crop_ratio_range=(0.05, 0.4)), *colours, dict(blur, prob=0.5)]
train_pipeline = [
    dict(type='mmwhitebox.LoadImage'),
    dict(type='MultiView', num_views=[1, 1, 4], transforms=[first_global, second_global, local]),
    dict(type='PackInputs')
]
train_dataloader = dict(
    batch_size=64,
    drop_last=True,
    collate_fn=dict(type='default_collate'),  # view by view
    dataset=dict(pipeline=train_pipeline))
val_evaluator = [dict(type='mmwhitebox.KNNAccuracy'), dict(type='mmwhitebox.LinearProbeAccuracy')]
test_dataloader = None
test_evaluator = None
