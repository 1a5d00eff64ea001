_base_ = './cbt_tiny_imagenet.py'
model = dict(backbone=dict(attention=dict(type='TSSA')))
