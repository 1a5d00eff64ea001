_base_ = ['../_base_/models/segmenter_mask.py', '../_base_/datasets/chase_db1.py']
model = _base_.sizes
