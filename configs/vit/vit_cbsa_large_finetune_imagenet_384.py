_base_ = './vit_cbsa_small_finetune_imagenet_384.py'
model_name = 'vit_large_patch16_384.augreg_in21k_ft_in1k'
model = dict(
    backbone=dict(model_name=model_name),
    head=dict(in_channels=1024, init_cfg=dict(model_name=model_name)))
