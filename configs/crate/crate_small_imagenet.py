_base_ = './crate_base_imagenet.py'
model = dict(backbone=dict(arch='crate-small'), head=dict(in_channels=576))
