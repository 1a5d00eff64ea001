# MAE's recipe: AdamW, 800 epochs at batch 4096 (8 processes of 512), 40 of them warm-up from 0, then a cosine to 0. The
# learning rate is 1.5e-4 * batch / 256; for another batch: --auto-scale-lr. Norms and biases are not decayed.
# **reading**: bfloat16 autocast, where MAE has float16.
optim_wrapper = dict(
    type='mmwhitebox.BFloat16OptimWrapper',
    optimizer=dict(type='AdamW', fused=True, lr=2.4e-3, betas=(0.9, 0.95), weight_decay=0.05),
    paramwise_cfg=dict(norm_decay_mult=0., bias_decay_mult=0.))
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-6, begin=0, end=40, by_epoch=True, convert_to_iter_based=True),
    dict(type='CosineAnnealingLR', eta_min=0., begin=40, end=800, by_epoch=True, convert_to_iter_based=True)
]
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=800)
val_cfg = None
test_cfg = None
auto_scale_lr = dict(enable=False, base_batch_size=4096)
