_base_ = ['../_base_/models/segmenter_mask.py', '../_base_/datasets/pascal_voc12.py']
model = _base_.sizes
