_base_ = './vit_cbsa_small_finetune_imagenet_384.py'
model = dict(backbone=dict(attention='agent_contraction'))
