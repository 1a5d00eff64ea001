# Images of one's own with a class each. own_data says where they lie; the number of classes follows from it everywhere.
# recipe says the model and the size, train_cfg the length, which the schedule follows.
# `mmwhitebox new FOLDER --task cls` writes a config on top of this one; see mmwhitebox/config/own_data.py.
_base_ = ['../default_runtime_cls.py', '../schedules/own_data_cls.py']
own_data = dict(root=None)
recipe = dict(model='cbt_mini', crop=64)
train_pipeline = [
    dict(type='mmwhitebox.LoadImage'),
    dict(type='RandomResizedCrop', scale=64, crop_ratio_range=(0.5, 1.0), interpolation='bicubic'),
    dict(type='RandomFlip', prob=0.5, direction='horizontal'),
    dict(type='PackInputs')
]
test_pipeline = [
    dict(type='LoadImageFromFile', _scope_='mmwhitebox'),
    dict(type='Resize', scale=(64, 64), interpolation='bicubic'),
    dict(type='PackInputs')
]
train_dataloader = dict(
    batch_size=32,  # per process
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(type='mmwhitebox.FolderClsDataset', split='train', pipeline=train_pipeline))
val_dataloader = dict(
    batch_size=64,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(type='mmwhitebox.FolderClsDataset', split='val', pipeline=test_pipeline))
test_dataloader = val_dataloader
val_evaluator = dict(type='Accuracy', topk=(1, ))
test_evaluator = val_evaluator
