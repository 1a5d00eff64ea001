# 8 k iterations, the ADE20K recipe shortened for data sets of a few hundred images.
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='SGD', fused=True, lr=1e-3, momentum=0.9, nesterov=True, weight_decay=0.))
param_scheduler = [
    dict(type='PolyLR', eta_min=1e-5, power=0.9, begin=0, end=8000, by_epoch=False)
]
train_cfg = dict(type='IterBasedTrainLoop', max_iters=8000, val_interval=800)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
auto_scale_lr = dict(enable=False, base_batch_size=8)
