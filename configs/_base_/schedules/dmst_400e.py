# DMST's recipe: ToST's at batch 512 (8 processes of 64).
_base_ = './imagenet_deit_400e.py'
optim_wrapper = dict(optimizer=dict(lr=5e-4))
auto_scale_lr = dict(base_batch_size=512)
