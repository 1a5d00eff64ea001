# CHASE-DB1, vessels of the retina: 20 images of 999 x 960 to train on and 8 to test. Ours: as DRIVE, twice the size.
_base_ = './drive.py'
dataset_type = 'ChaseDB1Dataset'
data_root = '{{$CHASE_DB1_ROOT:data/CHASE_DB1}}'
train_pipeline, test_pipeline, tta_pipeline = _base_.train_pipeline, _base_.test_pipeline, _base_.tta_pipeline
train_pipeline[2].scale = test_pipeline[1].scale = (1998, 1920)
tta_pipeline[1].transforms[0] = [
    dict(type='Resize', scale=(int(1998 * r), int(1920 * r)), keep_ratio=True)
    for r in (0.5, 0.75, 1.0, 1.25, 1.5, 1.75)]
train_dataloader = dict(dataset=dict(type=dataset_type, data_root=data_root, pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(type=dataset_type, data_root=data_root, pipeline=test_pipeline))
test_dataloader = val_dataloader
