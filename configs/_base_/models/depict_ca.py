# DEPICT-CA decoder (NeurIPS 2024) on a ViT-S.
_base_ = './vit_encoder.py'
model = dict(
    decode_head=dict(
        type='mmwhitebox.WhiteBoxMaskHead',
        in_channels=384,
        channels=384,
        num_classes=150,
        num_layers=3,
        attention=dict(type='MSSA', num_heads=3, head_dims=100, out_proj='shared'),
        class_attention=dict(type='MSCA', num_heads=3, head_dims=50),
        num_class_layers=3,
        loss_decode=dict(type='CrossEntropyLoss', use_sigmoid=False, avg_non_ignore=True)))
