# Patches of 8 x 8.
_base_ = './tost_tiny_imagenet.py'
model = dict(backbone=dict(patch_size=8))
