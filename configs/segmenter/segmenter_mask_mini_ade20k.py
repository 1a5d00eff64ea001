_base_ = ['../_base_/models/segmenter_mask.py', '../_base_/datasets/mini_ade20k_vit.py']
model = dict(_base_.sizes, decode_head=dict(in_channels=192, channels=192, embed_dims=192, num_heads=3))
