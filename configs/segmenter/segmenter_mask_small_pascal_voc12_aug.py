_base_ = ['../_base_/models/segmenter_mask.py', '../_base_/datasets/pascal_voc12_aug.py']
model = _base_.sizes
