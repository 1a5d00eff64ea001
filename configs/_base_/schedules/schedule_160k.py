# 64 epochs of ADE20K at batch 8 (Segmenter, DEPICT, CBT): SGD with Nesterov momentum, a polynomial down to 1e-5.
# **reading**: an epoch is 2,526 iterations, 20,210 images in whole batches of 8.
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='SGD', fused=True, lr=1e-3, momentum=0.9, nesterov=True, weight_decay=0.))
param_scheduler = [
    dict(type='PolyLR', eta_min=1e-5, power=0.9, begin=0, end=161665, by_epoch=False)  # at its floor after the last one
]
train_cfg = dict(type='IterBasedTrainLoop', max_iters=161664, val_interval=16000)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
auto_scale_lr = dict(enable=False, base_batch_size=8)
