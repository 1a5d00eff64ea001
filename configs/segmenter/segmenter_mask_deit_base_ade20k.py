# DeiT, distilled: mean and std of ImageNet.
_base_ = './segmenter_mask_base_ade20k.py'
model = dict(
    data_preprocessor=dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375]),
    backbone=dict(model_name='deit_base_distilled_patch16_384.fb_in1k'))
