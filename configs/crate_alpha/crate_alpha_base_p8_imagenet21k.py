_base_ = './crate_alpha_base_imagenet21k.py'
model = dict(backbone=dict(patch_size=8))
