_base_ = [
    '../_base_/models/classifier.py', '../_base_/datasets/imagenet_224.py',
    '../_base_/schedules/imagenet_lion_150e.py', '../_base_/default_runtime_cls.py'
]
model = dict(backbone=dict(arch='cbt-small'), head=dict(in_channels=384))
