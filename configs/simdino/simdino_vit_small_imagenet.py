_base_ = './simdino_vit_base_imagenet.py'
model = dict(backbone=dict(model_name='vit_small_patch16_224'))
