# CBT's recipe as one would write it today: no weight decay on norms, biases, positions and class token, and a learning
# rate that changes at every iteration.
_base_ = './imagenet_lion_150e.py'
optim_wrapper = dict(
    paramwise_cfg=dict(
        norm_decay_mult=0.,
        bias_decay_mult=0.,
        flat_decay_mult=0.,
        custom_keys={'cls_token': dict(decay_mult=0.), 'pos_embed.table': dict(decay_mult=0.)}))
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-3, begin=0, end=20, by_epoch=True, convert_to_iter_based=True),
    dict(type='CosineAnnealingLR', eta_min=0., begin=20, end=150, by_epoch=True, convert_to_iter_based=True)
]
