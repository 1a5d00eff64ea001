_base_ = ['../_base_/models/depict_sa.py', '../_base_/datasets/isaid.py']
model = _base_.sizes
