_base_ = [
    '../_base_/models/cbt_decoder.py', '../_base_/datasets/camvid.py',
    '../_base_/schedules/schedule_8k.py', '../_base_/default_runtime.py'
]
model = dict(
    data_preprocessor=dict(size=(352, 352)),
    backbone=dict(img_size=352),
    decode_head=dict(num_classes=11),
    test_cfg=dict(_delete_=True, mode='whole'))
default_hooks = dict(checkpoint=dict(interval=800))
