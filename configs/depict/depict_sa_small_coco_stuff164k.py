_base_ = ['../_base_/models/depict_sa.py', '../_base_/datasets/coco_stuff164k.py']
model = _base_.sizes
