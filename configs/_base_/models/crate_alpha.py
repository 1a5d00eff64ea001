# CRATE-alpha as a classifier, trained with mixup or cutmix; the classifier starts from a normal distribution.
_base_ = './classifier_mixup.py'
model = dict(
    backbone=dict(arch='crate-alpha-base'),
    head=dict(in_channels=768, init_cfg=dict(_delete_=True, type='Normal', layer='Linear', std=0.02)))
