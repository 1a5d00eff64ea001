_base_ = ['../_base_/models/cbt_decoder.py', '../_base_/datasets/coco_stuff10k.py']
model = _base_.sizes
