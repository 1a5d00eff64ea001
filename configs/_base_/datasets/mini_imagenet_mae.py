# The miniature of ImageNet for MAE: crops and flips; what the features tell of the classes is scored, never learned.
_base_ = './mini_imagenet.py'
val_evaluator = [dict(type='mmwhitebox.KNNAccuracy'), dict(type='mmwhitebox.LinearProbeAccuracy')]
test_dataloader = None
test_evaluator = None
