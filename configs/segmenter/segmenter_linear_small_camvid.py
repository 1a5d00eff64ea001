_base_ = ['../_base_/models/segmenter_linear.py', '../_base_/datasets/camvid_small.py']
model = _base_.sizes
