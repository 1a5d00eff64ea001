_base_ = '../depict_sa_ade20k.py'
model = dict(decode_head=dict(attention=dict(orthogonal='all')))
