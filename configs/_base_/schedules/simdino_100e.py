# SimDINO's recipe: AdamW, 100 epochs at batch 512 (8 processes of 64), 10 of them warm-up from 0, a cosine to 1e-6;
# the weight decay rises from 0.04 to 0.4 by a cosine of its own. The learning rate is 5e-4 * batch / 256; for another
# batch: --auto-scale-lr. Biases, norms and other parameters of one axis are not decayed.
# **reading**: bfloat16 autocast, where the published code has float16; the gradient is clipped as a whole, where it
# clips every parameter's.
optim_wrapper = dict(
    type='mmwhitebox.BFloat16OptimWrapper',
    constructor='mmwhitebox.TrainedOptimWrapperConstructor',
    optimizer=dict(type='AdamW', fused=True, lr=1e-3, weight_decay=0.04),
    clip_grad=dict(max_norm=3.),
    paramwise_cfg=dict(norm_decay_mult=0., bias_decay_mult=0., flat_decay_mult=0.))
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-6, begin=0, end=10, by_epoch=True, convert_to_iter_based=True),
    dict(
        type='CosineAnnealingWeightDecay', eta_min=0.4, begin=0, end=100, by_epoch=True, convert_to_iter_based=True),
    dict(type='CosineAnnealingLR', eta_min=1e-6, begin=10, end=100, by_epoch=True, convert_to_iter_based=True)
]
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=100)
val_cfg = None
test_cfg = None
auto_scale_lr = dict(enable=False, base_batch_size=512)
