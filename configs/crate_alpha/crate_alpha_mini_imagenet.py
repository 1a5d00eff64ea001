_base_ = '../cbt/cbt_mini_imagenet.py'
model = dict(
    backbone=dict(
        arch=dict(
            attention=dict(_delete_=True, type='MSSA', out_bias=False),
            feedforward=dict(type='ODL'),
            stem=dict(type='PatchConv'),
            norm_cfg=dict(type='LN', eps=1e-6),
            final_norm_cfg=dict(type='LN', eps=1e-5),
            init_std=0.02)))
