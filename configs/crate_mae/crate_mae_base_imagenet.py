_base_ = [
    '../_base_/models/crate_mae.py', '../_base_/datasets/imagenet_224_mae.py',
    '../_base_/schedules/crate_mae_800e.py', '../_base_/default_runtime_selfsup.py'
]
model = dict(backbone=dict(arch='crate-mae-base'))
