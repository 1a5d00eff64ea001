# 80 k iterations at batch 16, for data sets of tens of thousands of images: as 40 k.
_base_ = './schedule_40k.py'
param_scheduler = [
    dict(type='PolyLR', eta_min=1e-5, power=0.9, begin=0, end=80000, by_epoch=False)
]
train_cfg = dict(max_iters=80000, val_interval=8000)
