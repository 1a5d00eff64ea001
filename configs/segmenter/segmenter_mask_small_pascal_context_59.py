_base_ = ['../_base_/models/segmenter_mask.py', '../_base_/datasets/pascal_context_59.py']
model = _base_.sizes
