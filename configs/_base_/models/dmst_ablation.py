# DMST's ablations at 32 x 32. **reading**: the paper states only the size, 3.19 M (TSSA) and 3.20 M. This is
# ToST-T of width 144 on patches of 4 x 4: 3.12 M with TSSA, 3.13 M with DMSA and its variants.
_base_ = './classifier.py'
model = dict(
    backbone=dict(
        arch=dict(
            embed_dims=144,
            num_layers=12,
            num_heads=4,
            attention=dict(type='TSSA', qkv_bias=True),
            feedforward=dict(type='MLP'),
            position=dict(type='FourierPositions'),
            norm_cfg=dict(type='LN', eps=1e-6),
            layer_scale_init_value=1.,
            num_class_layers=2,
            init_std=0.02,
            init_cfg=dict(type='TruncNormal', layer='Linear', std=0.02, bias=0.)),
        img_size=32,
        patch_size=4),
    head=dict(in_channels=144, num_classes=10))
