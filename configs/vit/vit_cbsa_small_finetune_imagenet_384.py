_base_ = [
    '../_base_/models/vit_adapted.py', '../_base_/datasets/imagenet_384.py',
    '../_base_/schedules/finetune_50e.py', '../_base_/default_runtime_cls.py'
]
model_name = 'vit_small_patch16_384.augreg_in21k_ft_in1k'
model = dict(
    backbone=dict(model_name=model_name, img_size=384), head=dict(init_cfg=dict(model_name=model_name)))
train_dataloader = dict(batch_size=64)
