_base_ = ['../_base_/models/cbt_decoder.py', '../_base_/datasets/camvid_small.py']
model = _base_.sizes
