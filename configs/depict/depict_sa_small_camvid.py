_base_ = ['../_base_/models/depict_sa.py', '../_base_/datasets/camvid_small.py']
model = _base_.sizes
