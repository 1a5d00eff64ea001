# 256 epochs of Pascal Context at batch 16: SGD with Nesterov momentum, lr 1e-3, a polynomial down to 1e-5.
# **reading**: an epoch is 312 iterations, 4,998 images in whole batches of 16.
_base_ = './schedule_160k.py'
param_scheduler = [
    dict(type='PolyLR', eta_min=1e-5, power=0.9, begin=0, end=79873, by_epoch=False)  # at its floor after the last one
]
train_cfg = dict(max_iters=79872, val_interval=8000)
auto_scale_lr = dict(base_batch_size=16)
