# That of the miniature, longer. The schedule follows train_cfg.max_iters.
_base_ = './schedule_mini.py'
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-3, begin=0, end=50, by_epoch=False),
    dict(type='PolyLR', eta_min=0., power=0.9, begin=50, end=1000, by_epoch=False)
]
train_cfg = dict(max_iters=1000, val_interval=100)
auto_scale_lr = dict(_delete_=True)
