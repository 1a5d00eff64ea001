_base_ = './crate_mini_imagenet.py'
model = dict(backbone=dict(feedforward=None))
