_base_ = './crate_alpha_base_finetune_imagenet.py'
model = dict(backbone=dict(arch='crate-alpha-large', patch_size=14), head=dict(in_channels=1024))
