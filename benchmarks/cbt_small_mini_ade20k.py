# A CBT-S encoder under a CBT decoder on the miniature ADE20K at twice the quickstart's image side.
_base_ = '../configs/cbt_decoder/cbt_decoder_cbt_mini_ade20k.py'
model = dict(
    data_preprocessor=dict(size=(256, 256)),
    backbone=dict(arch='cbt-small', img_size=256, patch_size=16),
    decode_head=dict(in_channels=384, channels=384))
train_pipeline = [
    dict(type='mmwhitebox.LoadImage'),
    dict(type='mmwhitebox.LoadSegAnnotation', num_classes=150),
    dict(type='RandomResize', scale=(256, 256), ratio_range=(1.0, 1.4), keep_ratio=True),
    dict(type='RandomCrop', crop_size=(256, 256), cat_max_ratio=0.75),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PhotoMetricDistortion', hue_delta=9),
    dict(type='PackSegInputs')
]
test_pipeline = [
    dict(type='LoadImageFromFile', _scope_='mmwhitebox'),
    dict(type='Resize', scale=(256, 256), keep_ratio=True),
    dict(type='LoadAnnotations', _scope_='mmwhitebox', num_classes=150),
    dict(type='PackSegInputs')
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
