_base_ = [
    '../_base_/models/simdino.py', '../_base_/datasets/mini_imagenet_multicrop.py',
    '../_base_/schedules/classification_mini.py', '../_base_/default_runtime_selfsup.py'
]
model = dict(
    backbone=dict(
        type='mmwhitebox.WhiteBoxTransformer',
        arch=dict(
            embed_dims=96, num_layers=4, num_heads=3, attention=dict(type='CBSA'), feedforward=dict(type='ISTA')),
        img_size=64,
        patch_size=8))
val_cfg = None
test_cfg = None
