_base_ = './cbt.py'
model = dict(
    decode_head=dict(attention=dict(_delete_=True, type='MSSA', num_heads=2, head_dims=64, out_proj='shared')))
