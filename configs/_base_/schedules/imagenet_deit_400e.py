# ToST's recipe: AdamW, 400 epochs at batch 1024 (8 processes of 128), 5 of them warm-up, float16 autocast. The
# learning rate is 5e-4 * batch / 512; for another batch: --auto-scale-lr. Norms, biases and the class token are not
# decayed; the temperatures of TSSA are. An average of the weights (decay 0.99996) is kept beside.
optim_wrapper = dict(
    type='AmpOptimWrapper',
    dtype='float16',
    loss_scale='dynamic',
    optimizer=dict(type='AdamW', fused=True, lr=1e-3, weight_decay=0.05),
    paramwise_cfg=dict(
        norm_decay_mult=0.,
        bias_decay_mult=0.,
        flat_decay_mult=0.,
        custom_keys={'cls_token': dict(decay_mult=0.)}))
param_scheduler = [dict(type='mmwhitebox.WarmupCosineLR', total=400, warmup=5, start=1e-6, eta_min=1e-5)]
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=400, val_interval=1)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
auto_scale_lr = dict(enable=False, base_batch_size=1024)
custom_hooks = [dict(type='mmwhitebox.BesideEMAHook', momentum=1 - 0.99996, update_buffers=True)]
