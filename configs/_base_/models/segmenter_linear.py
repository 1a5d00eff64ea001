# Segmenter with the linear decoder (ICCV 2021) on a ViT-S.
_base_ = './vit_encoder.py'
model = dict(
    decode_head=dict(
        type='FCNHead',
        in_channels=384,
        channels=384,
        num_classes=150,
        num_convs=0,
        concat_input=False,
        dropout_ratio=0.,
        init_cfg=dict(type='TruncNormal', std=0.02, override=dict(name='conv_seg')),
        loss_decode=dict(type='CrossEntropyLoss', use_sigmoid=False, avg_non_ignore=True)))
