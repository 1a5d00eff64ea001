_base_ = [
    '../_base_/models/dmst_ablation.py', '../_base_/datasets/cifar10_32.py',
    '../_base_/schedules/dmst_400e.py', '../_base_/default_runtime_cls.py'
]
model = dict(backbone=dict(attention=dict(type='DMSA', qkv_bias=True)))
