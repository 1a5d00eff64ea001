_base_ = '../_base_/camvid.py'
model = dict(
    decode_head=dict(
        type='mmwhitebox.WhiteBoxMaskHead',
        in_channels=128,
        channels=128,
        num_classes=11,
        num_layers=2,
        init_cfg=None,  # torch's own, with which these were trained
        attention=dict(type='CBSA', num_heads=2, head_dims=64, pool_size=10),
        loss_decode=dict(type='CrossEntropyLoss', use_sigmoid=False, avg_non_ignore=True)))
