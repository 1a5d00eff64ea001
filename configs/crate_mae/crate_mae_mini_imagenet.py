_base_ = [
    '../_base_/models/crate_mae.py', '../_base_/datasets/mini_imagenet_mae.py',
    '../_base_/schedules/classification_mini.py', '../_base_/default_runtime_selfsup.py'
]
model = dict(
    backbone=dict(
        arch=dict(
            embed_dims=96,
            num_layers=4,
            num_heads=3,
            attention=dict(type='MSSA'),
            feedforward=dict(type='ISTA', lam=0.5),
            stem=dict(type='PatchConv'),
            position=dict(type='SinCosPositions'),
            final_norm_cfg=dict(type='LN', eps=1e-6),
            init_std=0.02,
            init_cfg=[
                dict(type='Xavier', layer='Linear', distribution='uniform', bias=0.),
                dict(type='mmwhitebox.PatchXavier')
            ]),
        img_size=64,
        patch_size=8))
val_cfg = dict(_delete_=True, type='mmwhitebox.FeatureValLoop')  # k-NN and linear probe
test_cfg = None
custom_hooks = [dict(type='mmwhitebox.ReconstructionVisHook', interval=100)]
