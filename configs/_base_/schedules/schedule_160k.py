# 160 k iterations at batch 8: 64 epochs of ADE20K (Segmenter, DEPICT, CBT).
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='SGD', fused=True, lr=1e-3, momentum=0.9, weight_decay=0.))
param_scheduler = [
    dict(type='PolyLR', eta_min=0., power=0.9, begin=0, end=160000, by_epoch=False)
]
train_cfg = dict(type='IterBasedTrainLoop', max_iters=160000, val_interval=16000)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
auto_scale_lr = dict(enable=False, base_batch_size=8)
