_base_ = ['../_base_/models/depict_sa.py', '../_base_/datasets/pascal_voc12.py']
model = _base_.sizes
