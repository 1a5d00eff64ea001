_base_ = '../_base_/camvid.py'
model = dict(
    decode_head=dict(
        type='SegmenterMaskTransformerHead',
        in_channels=128,
        channels=128,
        embed_dims=128,
        num_classes=11,
        num_layers=2,
        num_heads=2,
        drop_path_rate=0.,
        dropout_ratio=0.,
        loss_decode=dict(type='CrossEntropyLoss', use_sigmoid=False, avg_non_ignore=True)))
