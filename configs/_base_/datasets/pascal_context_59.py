# Pascal Context, the 59 classes without the background, which is ignored; else as with it.
_base_ = './pascal_context_480.py'
dataset_type = 'PascalContextDataset59'
num_classes = 59
train_pipeline, test_pipeline, tta_pipeline = _base_.train_pipeline, _base_.test_pipeline, _base_.tta_pipeline
train_pipeline[1].num_classes = test_pipeline[2].num_classes = num_classes
tta_pipeline[1].transforms[2][0].num_classes = num_classes
train_dataloader = dict(dataset=dict(type=dataset_type, pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(type=dataset_type, pipeline=test_pipeline))
test_dataloader = val_dataloader
sizes = dict(decode_head=dict(num_classes=num_classes))
