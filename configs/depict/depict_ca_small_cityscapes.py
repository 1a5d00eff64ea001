_base_ = ['../_base_/models/depict_ca.py', '../_base_/datasets/cityscapes_768.py']
model = _base_.sizes
