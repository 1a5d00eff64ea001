_base_ = ['../_base_/models/cbt_decoder.py', '../_base_/datasets/pascal_voc12.py']
model = _base_.sizes
