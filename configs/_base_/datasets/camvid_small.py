# CamVid, the published schedule in 8 k iterations; crops of 352, tested as a whole.
_base_ = ['./camvid.py', '../schedules/schedule_8k.py', '../default_runtime.py']
default_hooks = dict(checkpoint=dict(interval=800))
sizes = dict(  # of the model
    data_preprocessor=dict(size=(352, 352)),
    backbone=dict(img_size=352),
    decode_head=dict(num_classes=11),
    test_cfg=dict(_delete_=True, mode='whole'))
