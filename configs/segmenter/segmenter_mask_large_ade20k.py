_base_ = [
    '../_base_/models/segmenter_mask.py', '../_base_/datasets/ade20k_640.py',
    '../_base_/schedules/schedule_160k.py', '../_base_/default_runtime.py'
]
model = dict(
    data_preprocessor=dict(size=(640, 640)),
    backbone=dict(model_name='vit_large_patch16_384.augreg_in21k_ft_in1k', img_size=640),
    decode_head=dict(in_channels=1024, channels=1024, embed_dims=1024, num_heads=16),
    test_cfg=dict(crop_size=(640, 640), stride=(608, 608), val=dict(stride=(640, 640))))
