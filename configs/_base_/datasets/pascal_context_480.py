# Pascal Context, 60 classes with the background, with the recipe of DEPICT and Segmenter: short side 520, crop 480,
# tested with stride 320. Batch 16 in all: 8 processes of 2.
_base_ = ['./ade20k.py', '../schedules/pascal_context_256e.py', '../default_runtime.py']
dataset_type = 'PascalContextDataset'
data_root = '{{$PASCAL_CONTEXT_ROOT:data/VOCdevkit/VOC2010}}'
num_classes = 60
train_pipeline, test_pipeline, tta_pipeline = _base_.train_pipeline, _base_.test_pipeline, _base_.tta_pipeline
train_pipeline[1].num_classes = test_pipeline[2].num_classes = num_classes
tta_pipeline[1].transforms[2][0].num_classes = num_classes
train_pipeline[2].scale = test_pipeline[1].scale = (2080, 520)
train_pipeline[3].crop_size = (480, 480)
tta_pipeline[1].transforms[0] = [
    dict(type='Resize', scale=(int(2080 * r), int(520 * r)), keep_ratio=True)
    for r in (0.5, 0.75, 1.0, 1.25, 1.5, 1.75)]
data_prefix = dict(img_path='JPEGImages', seg_map_path='SegmentationClassContext')
train_dataloader = dict(
    batch_size=2,  # per process
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        ann_file='ImageSets/SegmentationContext/train.txt',
        data_prefix=data_prefix,
        pipeline=train_pipeline))
val_dataloader = dict(
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        ann_file='ImageSets/SegmentationContext/val.txt',
        data_prefix=data_prefix,
        pipeline=test_pipeline))
test_dataloader = val_dataloader
default_hooks = dict(checkpoint=dict(interval=8000))
sizes = dict(  # of the model
    data_preprocessor=dict(size=(480, 480)),
    backbone=dict(img_size=480),
    decode_head=dict(num_classes=num_classes),
    test_cfg=dict(crop_size=(480, 480), stride=(320, 320), val=dict(stride=(480, 480))))
