_base_ = '../cbt/cbt_mini_imagenet.py'
model = dict(
    backbone=dict(
        arch=dict(
            attention=dict(_delete_=True, type='TSSA', qkv_bias=True),
            feedforward=dict(type='MLP'),
            position=dict(type='FourierPositions'),
            norm_cfg=dict(type='LN', eps=1e-6),
            layer_scale_init_value=1.,
            num_class_layers=2,
            init_std=0.02,
            init_cfg=dict(type='TruncNormal', layer='Linear', std=0.02, bias=0.))))
