# HRF, vessels of the retina: 15 images of 3504 x 2336 to train on, 30 to test. Ours: as DRIVE, at this size, crop 512.
_base_ = './drive.py'
dataset_type = 'HRFDataset'
data_root = '{{$HRF_ROOT:data/HRF}}'
train_pipeline, test_pipeline, tta_pipeline = _base_.train_pipeline, _base_.test_pipeline, _base_.tta_pipeline
train_pipeline[2].scale = test_pipeline[1].scale = (3504, 2336)
tta_pipeline[1].transforms[0] = [
    dict(type='Resize', scale=(int(3504 * r), int(2336 * r)), keep_ratio=True)
    for r in (0.5, 0.75, 1.0, 1.25, 1.5, 1.75)]
train_pipeline[3].crop_size = (512, 512)
train_dataloader = dict(dataset=dict(type=dataset_type, data_root=data_root, pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(type=dataset_type, data_root=data_root, pipeline=test_pipeline))
test_dataloader = val_dataloader
sizes = dict(
    data_preprocessor=dict(size=(512, 512)),
    backbone=dict(img_size=512),
    test_cfg=dict(crop_size=(512, 512), stride=(480, 480), val=dict(stride=(512, 512))))
