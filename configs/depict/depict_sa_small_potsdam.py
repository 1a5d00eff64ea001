_base_ = ['../_base_/models/depict_sa.py', '../_base_/datasets/potsdam.py']
model = _base_.sizes
