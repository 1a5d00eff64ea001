_base_ = './cbt_learned_mini_imagenet.py'
model = dict(backbone=dict(arch=dict(attention=dict(dwc=True))))
