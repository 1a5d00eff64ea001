_base_ = '../segmenter_mask_ade20k.py'
model = dict(
    backbone=dict(model_name='vit_base_patch16_384.augreg_in21k_ft_in1k'),
    decode_head=dict(in_channels=768, channels=768, embed_dims=768, num_heads=12))
