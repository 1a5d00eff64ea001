_base_ = './dmst_tiny_svhn.py'
model = dict(backbone=dict(attention=dict(type='TSSA')))
