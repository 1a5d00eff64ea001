# LoveDA, 7 classes, images of 1024 taken at that size; 0 in the masks is ignored. Else ours, as Potsdam.
_base_ = './potsdam.py'
dataset_type = 'LoveDADataset'
data_root = '{{$LOVEDA_ROOT:data/loveDA}}'
num_classes = 7
train_pipeline, test_pipeline, tta_pipeline = _base_.train_pipeline, _base_.test_pipeline, _base_.tta_pipeline
train_pipeline[1].num_classes = test_pipeline[2].num_classes = num_classes
tta_pipeline[1].transforms[2][0].num_classes = num_classes
train_pipeline[2].scale = test_pipeline[1].scale = (1024, 1024)
tta_pipeline[1].transforms[0] = [
    dict(type='Resize', scale=(int(1024 * r), int(1024 * r)), keep_ratio=True)
    for r in (0.5, 0.75, 1.0, 1.25, 1.5, 1.75)]
train_dataloader = dict(dataset=dict(type=dataset_type, data_root=data_root, pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(type=dataset_type, data_root=data_root, pipeline=test_pipeline))
test_dataloader = val_dataloader
sizes = dict(decode_head=dict(num_classes=num_classes))
