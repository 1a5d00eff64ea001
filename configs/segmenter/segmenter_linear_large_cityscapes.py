_base_ = './segmenter_linear_small_cityscapes.py'
model = dict(
    backbone=dict(model_name='vit_large_patch16_384.augreg_in21k_ft_in1k'),
    decode_head=dict(in_channels=1024, channels=1024))
