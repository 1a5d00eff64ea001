# **reading**: the drop path rate, that of ToST-M, which has this depth.
_base_ = './tost_tiny_imagenet.py'
model = dict(backbone=dict(arch='tost-small-24', drop_path_rate=[0.15] * 24), head=dict(in_channels=384))
