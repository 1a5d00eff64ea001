# CBT decoder (CBSA, NeurIPS 2025) on a ViT-S.
_base_ = './vit_encoder.py'
model = dict(
    decode_head=dict(
        type='mmwhitebox.WhiteBoxMaskHead',
        in_channels=384,
        channels=384,
        num_classes=150,
        num_layers=3,
        attention=dict(type='CBSA', num_heads=3, head_dims=100, pool_size=10),
        loss_decode=dict(type='CrossEntropyLoss', use_sigmoid=False, avg_non_ignore=True)))
