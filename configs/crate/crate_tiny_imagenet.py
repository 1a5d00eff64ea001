_base_ = './crate_base_imagenet.py'
model = dict(backbone=dict(arch='crate-tiny'), head=dict(in_channels=384))
