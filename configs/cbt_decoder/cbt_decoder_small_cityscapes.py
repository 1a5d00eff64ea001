_base_ = ['../_base_/models/cbt_decoder.py', '../_base_/datasets/cityscapes_768.py']
model = _base_.sizes
