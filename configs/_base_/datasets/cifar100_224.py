# CIFAR-100, as CIFAR-10.
_base_ = './cifar10_224.py'
dataset_type = 'mmwhitebox.CIFAR100'
data_root = '{{$CIFAR100_ROOT:data/cifar100}}'
train_dataloader = dict(dataset=dict(type=dataset_type, data_root=data_root))
val_dataloader = dict(dataset=dict(type=dataset_type, data_root=data_root))
test_dataloader = val_dataloader
