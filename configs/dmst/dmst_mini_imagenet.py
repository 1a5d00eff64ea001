_base_ = '../tost/tost_mini_imagenet.py'
model = dict(backbone=dict(arch=dict(attention=dict(type='DMSA'))))
