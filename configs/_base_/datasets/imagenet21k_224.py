# ImageNet-21k (winter 2021), random crops of 224 and flips, in a folder per class: train and val.
# **reading**: val holds the images that are kept out for the validation of every epoch.
# Batch 4096 in all: 8 processes of 512.
_base_ = './imagenet_224.py'
dataset_type = 'ImageNet21k'
data_root = '{{$IMAGENET21K_ROOT:data/imagenet21k}}'
train_dataloader = dict(batch_size=512, dataset=dict(type=dataset_type, data_root=data_root))
val_dataloader = dict(dataset=dict(type=dataset_type, data_root=data_root, split='', data_prefix='val'))
test_dataloader = val_dataloader
