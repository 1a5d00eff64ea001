_base_ = '../_base_/cifar10_best.py'
model = dict(backbone=dict(attention=dict(type='DMSA', qkv_bias=True, membership_act='st_tokens', gate_act=None)))
