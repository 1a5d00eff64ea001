_base_ = [
    '../_base_/models/classifier.py', '../_base_/datasets/imagenet_224.py',
    '../_base_/schedules/imagenet_lion_200e.py', '../_base_/default_runtime_cls.py'
]
model = dict(backbone=dict(arch='crate-base'), head=dict(in_channels=768))
train_dataloader = dict(batch_size=64)
