_base_ = '../_base_/camvid.py'
model = dict(
    decode_head=dict(
        type='FCNHead',
        in_channels=128,
        channels=128,
        num_classes=11,
        num_convs=0,
        concat_input=False,
        dropout_ratio=0.,
        loss_decode=dict(type='CrossEntropyLoss', use_sigmoid=False, avg_non_ignore=True)))
