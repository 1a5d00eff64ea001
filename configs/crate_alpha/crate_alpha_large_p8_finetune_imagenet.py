_base_ = './crate_alpha_large_finetune_imagenet.py'
model = dict(backbone=dict(patch_size=8))
