_base_ = ['../_base_/models/depict_sa.py', '../_base_/datasets/chase_db1.py']
model = _base_.sizes
