_base_ = './dmst_tiny_cifar10.py'
model = dict(backbone=dict(attention=dict(gate_act='sigmoid')))
