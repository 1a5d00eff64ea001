_base_ = [
    '../_base_/models/depict_ca.py', '../_base_/datasets/mini_ade20k.py',
    '../_base_/schedules/schedule_mini.py', '../_base_/default_runtime.py'
]
model = dict(
    data_preprocessor=dict(size=(128, 128)),
    backbone=dict(
        model_name='vit_tiny_patch16_224',
        img_size=128,
        pretrained=False,
        drop_path_rate=0.,
        model_kwargs=dict(patch_size=8, depth=4)),
    decode_head=dict(in_channels=192, channels=192),
    test_cfg=dict(_delete_=True, mode='whole'))
default_hooks = dict(checkpoint=dict(interval=50))
