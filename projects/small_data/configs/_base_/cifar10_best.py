# The same models under a longer recipe: 12 epochs, label smoothing, averaged weights.
_base_ = './cifar10.py'
model = dict(head=dict(loss=dict(label_smooth_val=0.1)))
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-3, begin=0, end=200, by_epoch=False),
    dict(type='CosineAnnealingLR', eta_min=0., begin=200, end=4680, by_epoch=False)
]
train_cfg = dict(max_iters=4680, val_interval=1560)
default_hooks = dict(checkpoint=dict(interval=780))
custom_hooks = [dict(type='EMAHook', momentum=2e-3)]
