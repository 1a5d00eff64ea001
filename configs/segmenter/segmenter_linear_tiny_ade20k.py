_base_ = '../segmenter_linear_ade20k.py'
model = dict(
    backbone=dict(model_name='vit_tiny_patch16_384.augreg_in21k_ft_in1k'),
    decode_head=dict(in_channels=192, channels=192))
