_base_ = '../cbt/cbt_mini_imagenet.py'
model = dict(
    backbone=dict(
        arch=dict(attention=dict(_delete_=True, type='MSSA'), stem=dict(type='LinearStem'))))
