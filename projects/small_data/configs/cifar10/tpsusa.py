_base_ = '../_base_/cifar10.py'
model = dict(backbone=dict(attention=dict(type='DMSA', qkv_bias=True, membership_act='st_tokens')))
