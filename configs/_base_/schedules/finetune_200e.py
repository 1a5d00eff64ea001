# Fine-tuning of a classifier: AdamW, 200 epochs at batch 256 (8 processes of 32).
# **reading**: learning rate 5e-5, weight decay 0.01 and a cosine without warm-up, as CRATE; the papers' text
# leaves them out. CBT fine-tunes at batch 512: --auto-scale-lr.
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='AdamW', fused=True, lr=5e-5, weight_decay=0.01),
    paramwise_cfg=dict(
        norm_decay_mult=0.,
        bias_decay_mult=0.,
        flat_decay_mult=0.,
        custom_keys={
            'cls_token': dict(decay_mult=0.),
            'pos_embed.table': dict(decay_mult=0.),
            'attn.temp': dict(decay_mult=0.)
        }))
param_scheduler = [
    dict(type='CosineAnnealingLR', eta_min=0., begin=0, end=200, by_epoch=True, convert_to_iter_based=True)
]
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=200, val_interval=1)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
auto_scale_lr = dict(enable=False, base_batch_size=256)
