_base_ = './dmst_tiny_svhn.py'
model = dict(backbone=dict(attention=dict(membership_act='st_tokens', gate_act=None)))
