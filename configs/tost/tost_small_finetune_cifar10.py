# From the weights of ImageNet: --cfg-options load_from=work_dirs/tost_small_imagenet/epoch_400.pth
# (its head has another size and is left out).
_base_ = '../cbt/cbt_small_finetune_cifar10.py'
model = dict(backbone=dict(arch='tost-small'))
optim_wrapper = dict(optimizer=dict(lr=1e-4))
