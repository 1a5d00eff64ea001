_base_ = ['../_base_/models/segmenter_mask.py', '../_base_/datasets/vaihingen.py']
model = _base_.sizes
