# Patches of 8.
_base_ = './segmenter_mask_base_ade20k.py'
model = dict(backbone=dict(model_name='vit_base_patch8_224.augreg_in21k_ft_in1k'))
