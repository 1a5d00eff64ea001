# 8 k iterations, the ADE20K recipe shortened for data sets of a few hundred images.
_base_ = './schedule_160k.py'
param_scheduler = [
    dict(type='PolyLR', eta_min=1e-5, power=0.9, begin=0, end=8000, by_epoch=False)
]
train_cfg = dict(max_iters=8000, val_interval=800)
