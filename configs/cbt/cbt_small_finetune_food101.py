# From the weights of ImageNet: --cfg-options load_from=work_dirs/cbt_small_imagenet/epoch_150.pth
# (its head has another size and is left out). Another encoder is the line that names arch and in_channels.
_base_ = [
    '../_base_/models/classifier_finetune.py', '../_base_/datasets/food101_224.py',
    '../_base_/schedules/finetune_200e.py', '../_base_/default_runtime_cls.py'
]
model = dict(
    backbone=dict(arch='cbt-small'), head=dict(in_channels=384, num_classes=101))
