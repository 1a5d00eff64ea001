_base_ = [
    '../_base_/models/simdino.py', '../_base_/datasets/mini_imagenet_multicrop.py',
    '../_base_/schedules/simdino_100e.py', '../_base_/default_runtime_selfsup.py'
]
model = dict(
    backbone=dict(
        type='mmwhitebox.WhiteBoxTransformer',
        arch=dict(
            embed_dims=96,
            num_layers=4,
            num_heads=3,
            attention=dict(type='MSSA'),
            feedforward=dict(type='ISTA'),
            stem=dict(type='PatchConv')),
        img_size=64,
        patch_size=8),
    neck=dict(hidden_channels=512, out_channels=128),
    momentum=0.95)
optim_wrapper = dict(type='OptimWrapper', optimizer=dict(lr=3e-4))
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-3, begin=0, end=1, by_epoch=True, convert_to_iter_based=True),
    dict(
        type='CosineAnnealingWeightDecay', eta_min=0.4, begin=0, end=12, by_epoch=True, convert_to_iter_based=True),
    dict(type='CosineAnnealingLR', eta_min=1e-6, begin=1, end=12, by_epoch=True, convert_to_iter_based=True)
]
train_cfg = dict(max_epochs=12, val_interval=4)
val_cfg = dict(_delete_=True, type='mmwhitebox.FeatureValLoop')  # k-NN and linear probe
auto_scale_lr = dict(base_batch_size=64)
