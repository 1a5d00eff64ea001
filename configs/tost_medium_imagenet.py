# **reading**: the drop path rate, that of XCiT's model of this depth.
_base_ = './tost_tiny_imagenet.py'
model = dict(backbone=dict(arch='tost-medium', drop_path_rate=0.1), head=dict(in_channels=512))
