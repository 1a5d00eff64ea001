_base_ = [
    '../_base_/models/depict_sa.py', '../_base_/datasets/pascal_context_480.py',
    '../_base_/schedules/pascal_context_256e.py', '../_base_/default_runtime.py'
]
model = dict(
    data_preprocessor=dict(size=(480, 480)),
    backbone=dict(img_size=480),
    decode_head=dict(num_classes=60),
    test_cfg=dict(crop_size=(480, 480), stride=(320, 320), val=dict(stride=(480, 480))))
default_hooks = dict(checkpoint=dict(interval=8000))
