_base_ = [
    '../_base_/models/classifier_mixup.py', '../_base_/datasets/imagenet_224_deit.py',
    '../_base_/schedules/dmst_400e.py', '../_base_/default_runtime_cls.py'
]
model = dict(backbone=dict(arch='dmst-tiny'), head=dict(in_channels=192))
