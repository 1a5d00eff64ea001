_base_ = ['../_base_/models/segmenter_linear.py', '../_base_/datasets/cityscapes_768.py']
model = _base_.sizes
