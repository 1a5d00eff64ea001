_base_ = './depict_sa.py'
model = dict(
    decode_head=dict(class_attention=dict(type='MSCA', num_heads=2, head_dims=32), num_class_layers=2))
