# CRATE-alpha on the 19,167 classes of ImageNet-21k (winter 2021), without label smoothing.
_base_ = './crate_alpha.py'
model = dict(
    data_preprocessor=dict(num_classes=19167), head=dict(num_classes=19167, loss=dict(label_smooth_val=0.)))
