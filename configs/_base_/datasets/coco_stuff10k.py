# COCO-Stuff 10k, the same 171 classes; here the masks count from 1, and 0 is ignored.
# Ours, of no paper: as 164k, 40 k iterations.
_base_ = ['./ade20k.py', '../schedules/schedule_40k.py', '../default_runtime.py']
dataset_type = 'COCOStuffDataset'
data_root = '{{$COCO_STUFF10K_ROOT:data/coco_stuff10k}}'
num_classes = 171
train_pipeline, test_pipeline, tta_pipeline = _base_.train_pipeline, _base_.test_pipeline, _base_.tta_pipeline
train_pipeline[1].num_classes = test_pipeline[2].num_classes = num_classes
tta_pipeline[1].transforms[2][0].num_classes = num_classes
train_dataloader = dict(
    batch_size=2,  # per process
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        data_prefix=dict(img_path='images/train2014', seg_map_path='annotations/train2014'),
        reduce_zero_label=True,
        pipeline=train_pipeline))
val_dataloader = dict(
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        data_prefix=dict(img_path='images/test2014', seg_map_path='annotations/test2014'),
        reduce_zero_label=True,
        pipeline=test_pipeline))
test_dataloader = val_dataloader
default_hooks = dict(checkpoint=dict(interval=4000))
sizes = dict(decode_head=dict(num_classes=num_classes))  # of the model; the rest is that of crop 512
