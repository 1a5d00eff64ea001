_base_ = './cbt_small_imagenet.py'
model = dict(backbone=dict(arch='crate-base'), head=dict(in_channels=768))
