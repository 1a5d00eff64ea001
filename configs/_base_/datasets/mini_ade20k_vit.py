# Mini ADE20K for a ViT of four layers from scratch: a few CPU minutes.
_base_ = ['./mini_ade20k.py', '../schedules/schedule_mini.py', '../default_runtime.py']
default_hooks = dict(checkpoint=dict(interval=50))
sizes = dict(  # of the model
    data_preprocessor=dict(size=(128, 128)),
    backbone=dict(
        model_name='vit_tiny_patch16_224',
        img_size=128,
        pretrained=False,
        drop_path_rate=0.,
        model_kwargs=dict(patch_size=8, depth=4)),
    decode_head=dict(in_channels=192, channels=192),
    test_cfg=dict(_delete_=True, mode='whole'))
