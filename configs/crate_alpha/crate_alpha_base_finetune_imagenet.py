# From the weights of ImageNet-21k: --cfg-options load_from=work_dirs/crate_alpha_base_imagenet21k/epoch_91.pth
# (its head has another size and is left out).
_base_ = [
    '../_base_/models/crate_alpha.py', '../_base_/datasets/imagenet_224_randaug.py',
    '../_base_/schedules/crate_alpha_finetune_91e.py', '../_base_/default_runtime_cls.py'
]
