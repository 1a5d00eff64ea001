_base_ = './crate_base_imagenet.py'
model = dict(backbone=dict(arch='crate-large'), head=dict(in_channels=1024))
