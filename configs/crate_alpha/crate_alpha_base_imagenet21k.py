_base_ = [
    '../_base_/models/crate_alpha_imagenet21k.py', '../_base_/datasets/imagenet21k_224.py',
    '../_base_/schedules/crate_alpha_91e.py', '../_base_/default_runtime_cls.py'
]
