_base_ = '../_base_/cifar10.py'
model = dict(backbone=dict(attention=dict(type='Agent', pool_size=4)))
