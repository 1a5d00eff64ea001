_base_ = './cbt_small_imagenet.py'
model = dict(backbone=dict(attention=dict(type='MSSA')))
