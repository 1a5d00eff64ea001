_base_ = ['../_base_/models/segmenter_linear.py', '../_base_/datasets/mini_ade20k_vit.py']
model = _base_.sizes
