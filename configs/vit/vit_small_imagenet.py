_base_ = '../cbt/cbt_small_imagenet.py'
model = dict(backbone=dict(arch='vit-small'), head=dict(in_channels=384))
