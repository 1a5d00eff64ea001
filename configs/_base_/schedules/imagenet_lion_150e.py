# CBT's recipe: Lion, 150 epochs at batch 256 (8 processes of 32), float16 autocast, weight decay on every parameter.
# Learning rate of epoch e: 2e-4 * min((e + 1) / 20, (1 + cos(pi e / 150)) / 2).
optim_wrapper = dict(
    type='AmpOptimWrapper',
    dtype='float16',
    loss_scale='dynamic',
    optimizer=dict(type='mmwhitebox.Lion', lr=2e-4, weight_decay=0.05))
param_scheduler = [dict(type='mmwhitebox.RampedCosineLR', total=150, warmup=20)]
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=150, val_interval=1)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
auto_scale_lr = dict(enable=False, base_batch_size=256)
