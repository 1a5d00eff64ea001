# CRATE-alpha's recipe: AdamW, 91 epochs at batch 4096 (8 processes of 512), 10 of them warm-up from 0, then a cosine to
# 1e-6. The learning rate is 5e-5 * batch / 256; for another batch: --auto-scale-lr. Only the kernels of Linear layers
# and of the stem are decayed: not the dictionaries, norms, biases, positions and the class token.
# **reading**: bfloat16 autocast, for the TPUs' products.
optim_wrapper = dict(
    type='mmwhitebox.BFloat16OptimWrapper',
    optimizer=dict(type='AdamW', fused=True, lr=8e-4, betas=(0.9, 0.95), weight_decay=0.1),
    clip_grad=dict(max_norm=1.),
    paramwise_cfg=dict(
        norm_decay_mult=0.,
        bias_decay_mult=0.,
        custom_keys={
            'cls_token': dict(decay_mult=0.),
            'pos_embed.table': dict(decay_mult=0.),
            'ffn.dictionary': dict(decay_mult=0.)
        }))
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-6, begin=0, end=10, by_epoch=True, convert_to_iter_based=True),
    dict(type='CosineAnnealingLR', eta_min=1e-6, begin=10, end=91, by_epoch=True, convert_to_iter_based=True)
]
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=91, val_interval=1)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
auto_scale_lr = dict(enable=False, base_batch_size=4096)
