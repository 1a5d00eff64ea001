_base_ = './cbt_small_imagenet.py'
model = dict(backbone=dict(arch='cbt-tiny'), head=dict(in_channels=192))
