# Oxford-IIIT Pets, as Flowers-102.
_base_ = './flowers102_224.py'
dataset_type = 'OxfordIIITPet'
data_root = '{{$PETS_ROOT:data/oxford_iiit_pet}}'
train_dataloader = dict(dataset=dict(type=dataset_type, data_root=data_root, split='trainval'))
val_dataloader = dict(dataset=dict(type=dataset_type, data_root=data_root))
test_dataloader = val_dataloader
