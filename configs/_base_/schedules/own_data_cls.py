# That of the miniature. The schedule follows train_cfg.max_epochs.
_base_ = './classification_mini.py'
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-3, begin=0, end=1, by_epoch=True, convert_to_iter_based=True),
    dict(type='CosineAnnealingLR', eta_min=0., begin=1, end=20, by_epoch=True, convert_to_iter_based=True)
]
train_cfg = dict(max_epochs=20, val_interval=2)
auto_scale_lr = dict(_delete_=True)
randomness = dict(seed=0)
