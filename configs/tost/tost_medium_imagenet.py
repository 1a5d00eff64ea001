_base_ = './tost_tiny_imagenet.py'
model = dict(backbone=dict(arch='tost-medium', drop_path_rate=[0.15] * 24), head=dict(in_channels=512))
