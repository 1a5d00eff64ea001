# The runtime of learning without labels: that of a classifier, without a score to wait for.
_base_ = './default_runtime_cls.py'
default_hooks = dict(checkpoint=dict(save_best=None))
