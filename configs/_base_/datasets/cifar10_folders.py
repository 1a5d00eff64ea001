# CIFAR-10 at its own size, 32, as image files: {train,test}/CLASS/*.
dataset_type = 'CustomDataset'
data_root = '{{$CIFAR10_FOLDERS_ROOT:data/cifar10}}'
classes = ('airplane', 'automobile', 'bird', 'cat', 'deer', 'dog', 'frog', 'horse', 'ship', 'truck')
train_pipeline = [
    dict(type='mmwhitebox.LoadImage'),
    dict(type='RandomCrop', crop_size=32, padding=4),
    dict(type='RandomFlip', prob=0.5, direction='horizontal'),
    dict(type='PackInputs')
]
test_pipeline = [
    dict(type='mmwhitebox.LoadImage'),
    dict(type='Resize', scale=(32, 32)),
    dict(type='PackInputs')
]
train_dataloader = dict(
    batch_size=128,  # per process
    num_workers=0,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        data_prefix='train',
        metainfo=dict(classes=classes),
        pipeline=train_pipeline))
val_dataloader = dict(
    batch_size=250,
    num_workers=0,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        data_prefix='test',
        metainfo=dict(classes=classes),
        pipeline=test_pipeline))
test_dataloader = val_dataloader
val_evaluator = dict(type='Accuracy', topk=(1, ))
test_evaluator = val_evaluator
