_base_ = ['../_base_/models/cbt_decoder.py', '../_base_/datasets/chase_db1.py']
model = _base_.sizes
