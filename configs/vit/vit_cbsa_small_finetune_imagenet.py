# CBSA-style attention in a pretrained ViT-S: attention='relu_linear' or None are the comparison.
_base_ = [
    '../_base_/models/vit_adapted.py', '../_base_/datasets/imagenet_224.py',
    '../_base_/schedules/finetune_50e.py', '../_base_/default_runtime_cls.py'
]
train_dataloader = dict(batch_size=64)
