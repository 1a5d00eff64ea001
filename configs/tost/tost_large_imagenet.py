# **reading**: width and heads, those of XCiT's model of this name; the drop path rate, that of ToST-M.
_base_ = './tost_tiny_imagenet.py'
model = dict(backbone=dict(arch='tost-large', drop_path_rate=[0.15] * 24), head=dict(in_channels=768))
