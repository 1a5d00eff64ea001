_base_ = '../_base_/cifar10.py'
model = dict(backbone=dict(attention=dict(type='CBSA', pool_size=4)))
custom_hooks = [dict(type='mmwhitebox.CodingRateHook', interval=60)]
