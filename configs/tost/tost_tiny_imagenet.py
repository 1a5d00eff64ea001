_base_ = [
    '../_base_/models/classifier_mixup.py', '../_base_/datasets/imagenet_224_deit.py',
    '../_base_/schedules/imagenet_deit_400e.py', '../_base_/default_runtime_cls.py'
]
model = dict(backbone=dict(arch='tost-tiny'), head=dict(in_channels=192))
train_dataloader = dict(batch_size=128)
