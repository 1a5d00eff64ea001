_base_ = [
    '../_base_/models/simdino.py', '../_base_/datasets/imagenet_224_multicrop.py',
    '../_base_/schedules/simdino_100e.py', '../_base_/default_runtime_selfsup.py'
]
model = dict(
    backbone=dict(type='mmwhitebox.WhiteBoxTransformer', arch='crate-base', img_size=224, drop_path_rate=0.1))
