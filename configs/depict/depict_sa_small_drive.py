_base_ = ['../_base_/models/depict_sa.py', '../_base_/datasets/drive.py']
model = _base_.sizes
