# Pascal VOC 2012, 21 classes with the background; the outlines of objects are ignored.
# Ours, of no paper: short side 512, crop 512, 40 k iterations. Batch 16 in all: 8 processes of 2.
_base_ = ['./ade20k.py', '../schedules/schedule_40k.py', '../default_runtime.py']
dataset_type = 'PascalVOCDataset'
data_root = '{{$VOC2012_ROOT:data/VOCdevkit/VOC2012}}'
num_classes = 21
train_pipeline, test_pipeline, tta_pipeline = _base_.train_pipeline, _base_.test_pipeline, _base_.tta_pipeline
train_pipeline[1].num_classes = test_pipeline[2].num_classes = num_classes
tta_pipeline[1].transforms[2][0].num_classes = num_classes
data_prefix = dict(img_path='JPEGImages', seg_map_path='SegmentationClass')
train_dataloader = dict(
    batch_size=2,  # per process
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        ann_file='ImageSets/Segmentation/train.txt',
        data_prefix=data_prefix,
        pipeline=train_pipeline))
val_dataloader = dict(
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        ann_file='ImageSets/Segmentation/val.txt',
        data_prefix=data_prefix,
        pipeline=test_pipeline))
test_dataloader = val_dataloader
default_hooks = dict(checkpoint=dict(interval=4000))
sizes = dict(decode_head=dict(num_classes=num_classes))  # of the model; the rest is that of crop 512
