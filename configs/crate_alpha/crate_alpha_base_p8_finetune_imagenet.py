_base_ = './crate_alpha_base_finetune_imagenet.py'
model = dict(backbone=dict(patch_size=8))
