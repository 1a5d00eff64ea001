# ImageNet-1k, random crops of 384 and flips; tested at 384 / 438 of the short side, as the published ViT adaptation.
_base_ = './imagenet_224.py'
train_pipeline = [
    dict(type='mmwhitebox.LoadImage'),
    dict(type='RandomResizedCrop', scale=384, backend='pillow', interpolation='bicubic'),
    dict(type='RandomFlip', prob=0.5, direction='horizontal'),
    dict(type='PackInputs')
]
test_pipeline = [
    dict(type='LoadImageFromFile', _scope_='mmwhitebox'),
    dict(type='ResizeEdge', scale=438, edge='short', backend='pillow', interpolation='bilinear'),
    dict(type='CenterCrop', crop_size=384),
    dict(type='PackInputs')
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
