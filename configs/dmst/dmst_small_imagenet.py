_base_ = './dmst_tiny_imagenet.py'
model = dict(backbone=dict(arch='dmst-small', drop_path_rate=[0.05] * 12), head=dict(in_channels=384))
