_base_ = './tost_tiny_imagenet.py'
model = dict(backbone=dict(arch='tost-small', drop_path_rate=[0.05] * 12), head=dict(in_channels=384))
