# Fine-tuning of a classifier: AdamW, 200 epochs at batch 256 (8 processes of 32), weight decay on every parameter.
# Learning rate 5e-5 (ToST 1e-4), weight decay 0.01. **reading**: a cosine without warm-up. CBT fine-tunes at batch 512:
# --auto-scale-lr.
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='AdamW', fused=True, lr=5e-5, weight_decay=0.01))
param_scheduler = [
    dict(type='CosineAnnealingLR', eta_min=0., begin=0, end=200, by_epoch=True, convert_to_iter_based=True)
]
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=200, val_interval=1)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
auto_scale_lr = dict(enable=False, base_batch_size=256)
