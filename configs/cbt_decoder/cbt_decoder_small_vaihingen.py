_base_ = ['../_base_/models/cbt_decoder.py', '../_base_/datasets/vaihingen.py']
model = _base_.sizes
