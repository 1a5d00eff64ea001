# Food-101, as Flowers-102.
_base_ = './flowers102_224.py'
dataset_type = 'Food101'
data_root = '{{$FOOD101_ROOT:data/food-101}}'
train_dataloader = dict(dataset=dict(type=dataset_type, data_root=data_root, split='train'))
val_dataloader = dict(dataset=dict(type=dataset_type, data_root=data_root))
test_dataloader = val_dataloader
