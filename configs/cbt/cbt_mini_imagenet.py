_base_ = [
    '../_base_/models/classifier.py', '../_base_/datasets/mini_imagenet.py',
    '../_base_/schedules/classification_mini.py', '../_base_/default_runtime_cls.py'
]
model = dict(
    backbone=dict(
        arch=dict(
            embed_dims=96, num_layers=4, num_heads=3, attention=dict(type='CBSA', pool_size=4),
            feedforward=dict(type='ISTA')),
        img_size=64,
        patch_size=8),
    head=dict(in_channels=96, num_classes=12))
