# The classifier trained with mixup 0.8 and cutmix 1.0, one of them per batch (DeiT).
_base_ = './classifier.py'
model = dict(
    data_preprocessor=dict(num_classes=1000),  # that of the head: labels become vectors
    train_cfg=dict(augments=[dict(type='Mixup', alpha=0.8), dict(type='CutMix', alpha=1.0)]))
