# The rate reduction of the classes' features, MCR2, beside cross entropy (docs/rate_reduction.md).
_base_ = './crate_mini_imagenet.py'
model = dict(regularizers=[dict(type='mmwhitebox.RateReductionLoss', loss_weight=1e-2)])
