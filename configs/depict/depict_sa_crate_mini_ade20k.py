_base_ = [
    '../_base_/models/depict_sa.py', '../_base_/datasets/mini_ade20k.py',
    '../_base_/schedules/schedule_mini.py', '../_base_/default_runtime.py'
]
model = dict(
    data_preprocessor=dict(
        mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], size=(128, 128)),
    backbone=dict(
        _delete_=True,
        type='mmwhitebox.WhiteBoxTransformer',
        arch=dict(
            embed_dims=192, num_layers=4, num_heads=3, attention=dict(type='MSSA'),
            feedforward=dict(type='ISTA'),
            stem=dict(type='LinearStem')),
        img_size=128,
        patch_size=8,
        out_type='featmap'),
    decode_head=dict(in_channels=192, channels=192),
    test_cfg=dict(_delete_=True, mode='whole'))
default_hooks = dict(checkpoint=dict(interval=50))
