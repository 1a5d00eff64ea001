# Adapting a pretrained ViT (CBSA, NeurIPS 2025): AdamW, 50 epochs at batch 512 (8 processes of 64).
# **reading**: a cosine without warm-up.
_base_ = './finetune_200e.py'
optim_wrapper = dict(
    optimizer=dict(lr=5e-5, weight_decay=0.01),
    paramwise_cfg=dict(custom_keys={'pos_embed': dict(decay_mult=0.)}))
param_scheduler = [
    dict(type='CosineAnnealingLR', eta_min=0., begin=0, end=50, by_epoch=True, convert_to_iter_based=True)
]
train_cfg = dict(max_epochs=50)
auto_scale_lr = dict(base_batch_size=512)
