_base_ = './cbt_mini_imagenet.py'
model = dict(backbone=dict(arch=dict(attention=dict(representatives='learned'))))
