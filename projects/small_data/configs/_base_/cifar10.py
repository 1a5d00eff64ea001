# The frame of DMST's ablations (ToST: class-attention at the end, MLP, Fourier positions) at a size that two CPU
# cores can train 33 times: width 64, depth 6, 0.4 M parameters, 2 epochs, in bfloat16.
_base_ = [
    '../../../../configs/_base_/models/dmst_ablation.py', '../../../../configs/_base_/datasets/cifar10_folders.py',
    '../../../../configs/_base_/schedules/classification_mini.py', '../../../../configs/_base_/default_runtime_cls.py'
]
model = dict(
    backbone=dict(arch=dict(embed_dims=64, num_layers=6)),
    head=dict(
        in_channels=64,
        init_cfg=dict(_delete_=True, type='Normal', layer='Linear', std=0.01),  # with which these were trained
        loss=dict(label_smooth_val=0.)))
optim_wrapper = dict(
    type='mmwhitebox.BFloat16OptimWrapper',
    flash_attention=False)  # its backward pass is slow on a CPU for 64 tokens
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-3, begin=0, end=100, by_epoch=False),
    dict(type='CosineAnnealingLR', eta_min=0., begin=100, end=780, by_epoch=False)
]
train_cfg = dict(_delete_=True, type='IterBasedTrainLoop', max_iters=780, val_interval=390)
auto_scale_lr = dict(base_batch_size=128)
default_hooks = dict(
    logger=dict(interval=30, log_metric_by_epoch=False),
    checkpoint=dict(by_epoch=False, interval=390, max_keep_ckpts=1, save_best=None))
log_processor = dict(by_epoch=False)
randomness = dict(seed=0)
