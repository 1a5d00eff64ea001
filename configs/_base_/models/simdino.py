# Any encoder (backbone) as student and teacher of SimDINO; mean and std of ImageNet.
model = dict(
    type='mmwhitebox.SimDINO',
    data_preprocessor=dict(
        type='SelfSupDataPreprocessor', mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], to_rgb=True),
    neck=dict(type='mmwhitebox.SimDINONeck', hidden_channels=2048, out_channels=256, num_layers=3),
    head=dict(type='mmwhitebox.SimDINOLoss', coeff=1., eps=0.05, reduce_cov=True),
    momentum=0.996)
