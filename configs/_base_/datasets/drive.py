# DRIVE, vessels of the retina: 20 images of 565 x 584 to train on and 20 to test, the division of its authors.
# Ours, of no paper: twice the size, as most vessels are thinner than a patch; crop 256; 8 k iterations of 8.
_base_ = ['./ade20k.py', '../schedules/schedule_8k.py', '../default_runtime.py']
dataset_type = 'DRIVEDataset'
data_root = '{{$DRIVE_ROOT:data/DRIVE}}'
num_classes = 2
train_pipeline, test_pipeline, tta_pipeline = _base_.train_pipeline, _base_.test_pipeline, _base_.tta_pipeline
train_pipeline[1].num_classes = test_pipeline[2].num_classes = num_classes
tta_pipeline[1].transforms[2][0].num_classes = num_classes
train_pipeline[2].scale = test_pipeline[1].scale = (1168, 1130)
train_pipeline[3].update(crop_size=(256, 256), cat_max_ratio=1.)  # hardly a crop is less than 75 % background
tta_pipeline[1].transforms[0] = [
    dict(type='Resize', scale=(int(1168 * r), int(1130 * r)), keep_ratio=True)
    for r in (0.5, 0.75, 1.0, 1.25, 1.5, 1.75)]
train_dataloader = dict(
    batch_size=8,  # per process
    dataset=dict(type=dataset_type, data_root=data_root, pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(type=dataset_type, data_root=data_root, pipeline=test_pipeline))
test_dataloader = val_dataloader
val_evaluator = dict(iou_metrics=['mIoU', 'mDice'])
test_evaluator = val_evaluator
default_hooks = dict(checkpoint=dict(interval=800))
sizes = dict(  # of the model
    data_preprocessor=dict(size=(256, 256)),
    backbone=dict(img_size=256),
    decode_head=dict(num_classes=num_classes),
    test_cfg=dict(crop_size=(256, 256), stride=(224, 224), val=dict(stride=(256, 256))))
