_base_ = [
    '../_base_/models/depict_ca.py', '../_base_/datasets/cityscapes_768.py',
    '../_base_/schedules/cityscapes_216e.py', '../_base_/default_runtime.py'
]
model = dict(
    data_preprocessor=dict(size=(768, 768)),
    backbone=dict(img_size=768),
    decode_head=dict(num_classes=19),
    test_cfg=dict(crop_size=(768, 768), stride=(512, 512), val=dict(stride=(768, 768))))
default_hooks = dict(checkpoint=dict(interval=8000))
