_base_ = ['../_base_/models/cbt_decoder.py', '../_base_/datasets/pascal_voc12_aug.py']
model = _base_.sizes
