# CRATE's recipe: CBT's for 200 epochs at batch 512 (8 processes of 64).
# **reading**: 20 warm-up epochs, as CBT.
_base_ = './imagenet_lion_150e.py'
param_scheduler = [dict(type='mmwhitebox.RampedCosineLR', total=200, warmup=20)]
train_cfg = dict(max_epochs=200)
auto_scale_lr = dict(base_batch_size=512)
