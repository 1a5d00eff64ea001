# Patches of 32.
_base_ = '../segmenter_mask_ade20k.py'
model = dict(backbone=dict(model_name='vit_small_patch32_384.augreg_in21k_ft_in1k'))
