# Cityscapes, 19 classes, with the recipe of DEPICT and Segmenter: short side 1024, crop 768, tested with stride 512.
# Batch 8 in all: 8 processes of 1.
_base_ = ['./ade20k.py', '../schedules/cityscapes_216e.py', '../default_runtime.py']
dataset_type = 'CityscapesDataset'
data_root = '{{$CITYSCAPES_ROOT:data/cityscapes}}'
num_classes = 19
train_pipeline, test_pipeline, tta_pipeline = _base_.train_pipeline, _base_.test_pipeline, _base_.tta_pipeline
train_pipeline[1].num_classes = test_pipeline[2].num_classes = num_classes
tta_pipeline[1].transforms[2][0].num_classes = num_classes
train_pipeline[2].scale = test_pipeline[1].scale = (2048, 1024)
train_pipeline[3].crop_size = (768, 768)
tta_pipeline[1].transforms[0] = [
    dict(type='Resize', scale=(int(2048 * r), int(1024 * r)), keep_ratio=True)
    for r in (0.5, 0.75, 1.0, 1.25, 1.5, 1.75)]
train_dataloader = dict(
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        data_prefix=dict(img_path='leftImg8bit/train', seg_map_path='gtFine/train'),
        pipeline=train_pipeline))
val_dataloader = dict(
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        data_prefix=dict(img_path='leftImg8bit/val', seg_map_path='gtFine/val'),
        pipeline=test_pipeline))
test_dataloader = val_dataloader
default_hooks = dict(checkpoint=dict(interval=8000))
sizes = dict(  # of the model
    data_preprocessor=dict(size=(768, 768)),
    backbone=dict(img_size=768),
    decode_head=dict(num_classes=num_classes),
    test_cfg=dict(crop_size=(768, 768), stride=(512, 512), val=dict(stride=(768, 768))))
