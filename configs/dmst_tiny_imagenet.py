_base_ = './tost_tiny_imagenet.py'
model = dict(backbone=dict(arch='dmst-tiny'), head=dict(in_channels=192))
