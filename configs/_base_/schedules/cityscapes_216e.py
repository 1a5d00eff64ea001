# 216 epochs of Cityscapes at batch 8: SGD with Nesterov momentum, lr 1e-2, a polynomial down to 1e-5.
# **reading**: an epoch is 371 iterations, 2,975 images in whole batches of 8.
_base_ = './schedule_160k.py'
optim_wrapper = dict(optimizer=dict(lr=1e-2))
param_scheduler = [
    dict(type='PolyLR', eta_min=1e-5, power=0.9, begin=0, end=80137, by_epoch=False)  # at its floor after the last one
]
train_cfg = dict(max_iters=80136, val_interval=8000)
