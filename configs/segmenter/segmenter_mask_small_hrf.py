_base_ = ['../_base_/models/segmenter_mask.py', '../_base_/datasets/hrf.py']
model = _base_.sizes
