# Segmenter with the mask transformer (ICCV 2021) on a ViT-S.
_base_ = './vit_encoder.py'
model = dict(
    decode_head=dict(
        type='mmwhitebox.SegmenterMaskTransformerHead',
        in_channels=384,
        channels=384,
        embed_dims=384,
        num_classes=150,
        num_layers=2,
        num_heads=6,
        drop_rate=0.1,
        attn_drop_rate=0.1,
        drop_path_rate=0.,
        dropout_ratio=0.,
        loss_decode=dict(type='CrossEntropyLoss', use_sigmoid=False, avg_non_ignore=True)))
