# COCO-Stuff with all of COCO 2017, 171 classes.
# Ours, of no paper: short side 512, crop 512, 80 k iterations. Batch 16 in all: 8 processes of 2.
_base_ = ['./ade20k.py', '../schedules/schedule_80k.py', '../default_runtime.py']
dataset_type = 'COCOStuffDataset'
data_root = '{{$COCO_STUFF164K_ROOT:data/coco_stuff164k}}'
num_classes = 171
train_pipeline, test_pipeline, tta_pipeline = _base_.train_pipeline, _base_.test_pipeline, _base_.tta_pipeline
train_pipeline[1].num_classes = test_pipeline[2].num_classes = num_classes
tta_pipeline[1].transforms[2][0].num_classes = num_classes
train_dataloader = dict(
    batch_size=2,  # per process
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        data_prefix=dict(img_path='images/train2017', seg_map_path='annotations/train2017'),
        pipeline=train_pipeline))
val_dataloader = dict(
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        data_prefix=dict(img_path='images/val2017', seg_map_path='annotations/val2017'),
        pipeline=test_pipeline))
test_dataloader = val_dataloader
default_hooks = dict(checkpoint=dict(interval=8000))
sizes = dict(decode_head=dict(num_classes=num_classes))  # of the model; the rest is that of crop 512
