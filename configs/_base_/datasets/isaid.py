# iSAID, 16 classes with the background, cut into tiles of 896 that overlap by 384; the padding of tiles is ignored.
# Ours, of no paper: the size of the tiles, crop 512, 80 k iterations. Batch 16 in all: 8 processes of 2.
_base_ = ['./ade20k.py', '../schedules/schedule_80k.py', '../default_runtime.py']
dataset_type = 'iSAIDDataset'
data_root = '{{$ISAID_ROOT:data/iSAID}}'
num_classes = 16
train_pipeline, test_pipeline, tta_pipeline = _base_.train_pipeline, _base_.test_pipeline, _base_.tta_pipeline
train_pipeline[1].num_classes = test_pipeline[2].num_classes = num_classes
tta_pipeline[1].transforms[2][0].num_classes = num_classes
train_pipeline[2].scale = test_pipeline[1].scale = (896, 896)
tta_pipeline[1].transforms[0] = [
    dict(type='Resize', scale=(int(896 * r), int(896 * r)), keep_ratio=True)
    for r in (0.5, 0.75, 1.0, 1.25, 1.5, 1.75)]
train_dataloader = dict(
    batch_size=2,  # per process
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        data_prefix=dict(img_path='img_dir/train', seg_map_path='ann_dir/train'),
        pipeline=train_pipeline))
val_dataloader = dict(
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        data_prefix=dict(img_path='img_dir/val', seg_map_path='ann_dir/val'),
        pipeline=test_pipeline))
test_dataloader = val_dataloader
default_hooks = dict(checkpoint=dict(interval=8000))
sizes = dict(decode_head=dict(num_classes=num_classes))  # of the model; the rest is that of crop 512
