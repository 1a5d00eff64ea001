_base_ = './cbt_small_imagenet.py'
model = dict(backbone=dict(arch='crate-large'), head=dict(in_channels=1024))
