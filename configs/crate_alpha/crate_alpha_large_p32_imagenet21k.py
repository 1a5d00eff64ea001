_base_ = './crate_alpha_large_imagenet21k.py'
model = dict(backbone=dict(patch_size=32))
