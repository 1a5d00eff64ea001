_base_ = './dmst_tiny_cifar10.py'
model = dict(backbone=dict(attention=dict(membership_act='st_tokens')))
