_base_ = './crate_mae_base_imagenet.py'
model = dict(backbone=dict(arch='crate-mae-large'))
