# 40 k iterations at batch 16, for data sets of a few thousand images: Pascal Context's recipe with a length of ours.
_base_ = './schedule_160k.py'
param_scheduler = [
    dict(type='PolyLR', eta_min=1e-5, power=0.9, begin=0, end=40000, by_epoch=False)
]
train_cfg = dict(max_iters=40000, val_interval=4000)
auto_scale_lr = dict(base_batch_size=16)
