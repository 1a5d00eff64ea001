_base_ = './vit_small_cbsa_imagenet_224.py'
model = dict(backbone=dict(attention='relu_linear'))
