_base_ = '../cbt/cbt_small_imagenet.py'
model = dict(backbone=dict(arch='crate-cbt-small'), head=dict(in_channels=384))
