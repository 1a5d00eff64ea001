# STARE, vessels of the retina: 10 images of 700 x 605 to train on and 10 to test. Ours: as DRIVE, twice the size.
_base_ = './drive.py'
dataset_type = 'STAREDataset'
data_root = '{{$STARE_ROOT:data/STARE}}'
train_pipeline, test_pipeline, tta_pipeline = _base_.train_pipeline, _base_.test_pipeline, _base_.tta_pipeline
train_pipeline[2].scale = test_pipeline[1].scale = (1400, 1210)
tta_pipeline[1].transforms[0] = [
    dict(type='Resize', scale=(int(1400 * r), int(1210 * r)), keep_ratio=True)
    for r in (0.5, 0.75, 1.0, 1.25, 1.5, 1.75)]
train_dataloader = dict(dataset=dict(type=dataset_type, data_root=data_root, pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(type=dataset_type, data_root=data_root, pipeline=test_pipeline))
test_dataloader = val_dataloader
