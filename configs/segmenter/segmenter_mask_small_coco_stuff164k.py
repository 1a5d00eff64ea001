_base_ = ['../_base_/models/segmenter_mask.py', '../_base_/datasets/coco_stuff164k.py']
model = _base_.sizes
