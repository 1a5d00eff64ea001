_base_ = './tost_imagenet_mini.py'
model = dict(backbone=dict(arch=dict(attention=dict(type='DMSA'))))
