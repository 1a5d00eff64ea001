# CBT-S encoder, CBT decoder. Mean and std are those of the encoder's training on ImageNet; from its
# weights: --cfg-options load_from=work_dirs/cbt_small_imagenet/epoch_150.pth (its head is left out).
_base_ = [
    '../_base_/models/cbt_decoder.py', '../_base_/datasets/ade20k.py',
    '../_base_/schedules/schedule_160k.py', '../_base_/default_runtime.py'
]
model = dict(
    data_preprocessor=dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375]),
    backbone=dict(
        _delete_=True,
        type='mmwhitebox.WhiteBoxTransformer',
        arch='cbt-small',
        img_size=512,
        out_type='featmap',
        drop_path_rate=0.1),
    decode_head=dict(in_channels=384, channels=384))
