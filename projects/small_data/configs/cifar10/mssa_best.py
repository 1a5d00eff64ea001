_base_ = '../_base_/cifar10_best.py'
model = dict(backbone=dict(attention=dict(type='MSSA')))
