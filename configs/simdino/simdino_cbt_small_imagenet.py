_base_ = './simdino_crate_base_imagenet.py'
model = dict(backbone=dict(arch='cbt-small'))
