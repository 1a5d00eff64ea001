# The sparse rate reduction that CRATE's layers are steps of, trained for as well (docs/rate_reduction.md).
_base_ = './crate_mini_imagenet.py'
model = dict(regularizers=[dict(type='mmwhitebox.SparseRateRegularizer', weight=1e-2)])
