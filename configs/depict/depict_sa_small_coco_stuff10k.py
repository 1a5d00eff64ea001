_base_ = ['../_base_/models/depict_sa.py', '../_base_/datasets/coco_stuff10k.py']
model = _base_.sizes
