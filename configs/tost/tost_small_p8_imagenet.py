# Patches of 8 x 8.
_base_ = './tost_small_imagenet.py'
model = dict(backbone=dict(patch_size=8))
