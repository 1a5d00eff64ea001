_base_ = './cbt_small_imagenet.py'
model = dict(backbone=dict(arch='cbt-large'), head=dict(in_channels=1024))
