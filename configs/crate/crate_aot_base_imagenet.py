_base_ = './crate_base_imagenet.py'
model = dict(backbone=dict(feedforward=None))
