_base_ = '../_base_/cifar10.py'
model = dict(backbone=dict(attention=dict(type='TSSA', qkv_bias=True)))
custom_hooks = [dict(type='mmwhitebox.CodingRateHook', interval=60)]
