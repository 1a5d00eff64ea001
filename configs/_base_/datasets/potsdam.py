# ISPRS Potsdam, 6 classes, cut into tiles of 512; 0 in the masks is ignored.
# Ours, of no paper: crop 512, 40 k iterations. Batch 16 in all: 8 processes of 2.
_base_ = ['./ade20k.py', '../schedules/schedule_40k.py', '../default_runtime.py']
dataset_type = 'PotsdamDataset'
data_root = '{{$POTSDAM_ROOT:data/potsdam}}'
num_classes = 6
train_pipeline, test_pipeline, tta_pipeline = _base_.train_pipeline, _base_.test_pipeline, _base_.tta_pipeline
train_pipeline[1].num_classes = test_pipeline[2].num_classes = num_classes
tta_pipeline[1].transforms[2][0].num_classes = num_classes
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
default_hooks = dict(checkpoint=dict(interval=4000))
sizes = dict(decode_head=dict(num_classes=num_classes))  # of the model; the rest is that of crop 512
