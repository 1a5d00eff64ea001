_base_ = ['../_base_/models/depict_sa.py', '../_base_/datasets/pascal_context_59.py']
model = _base_.sizes
