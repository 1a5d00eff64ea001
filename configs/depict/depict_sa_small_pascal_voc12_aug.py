_base_ = ['../_base_/models/depict_sa.py', '../_base_/datasets/pascal_voc12_aug.py']
model = _base_.sizes
