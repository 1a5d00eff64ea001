# CIFAR-10 at its own size, 32, as image files: {train,test}/CLASS/*.
_base_ = './cifar10_32.py'
data_root = '{{$CIFAR10_FOLDERS_ROOT:data/cifar10}}'
dataset = dict(
    _delete_=True,
    type='CustomDataset',
    data_root=data_root,
    metainfo=dict(classes=('airplane', 'automobile', 'bird', 'cat', 'deer', 'dog', 'frog', 'horse', 'ship', 'truck')))
train_dataloader = dict(
    batch_size=128,  # per process
    num_workers=0,
    persistent_workers=False,
    dataset=dict(data_prefix='train', pipeline={{_base_.train_pipeline}}, **dataset))
val_dataloader = dict(
    batch_size=250,
    num_workers=0,
    persistent_workers=False,
    dataset=dict(data_prefix='test', pipeline={{_base_.test_pipeline}}, **dataset))
test_dataloader = val_dataloader
