_base_ = './cbt_imagenet_mini.py'
model = dict(
    backbone=dict(
        arch=dict(attention=dict(_delete_=True, type='MSSA'), stem=dict(type='LinearStem'))))
