# ISPRS Vaihingen, as Potsdam; its images are infrared, red and green.
_base_ = './potsdam.py'
dataset_type = 'ISPRSDataset'
data_root = '{{$VAIHINGEN_ROOT:data/vaihingen}}'
train_dataloader = dict(dataset=dict(type=dataset_type, data_root=data_root))
val_dataloader = dict(dataset=dict(type=dataset_type, data_root=data_root))
test_dataloader = val_dataloader
