# The miniature of ImageNet for MAE: crops and flips; no labels, so nothing is validated.
_base_ = './mini_imagenet.py'
val_dataloader = None
val_evaluator = None
test_dataloader = None
test_evaluator = None
