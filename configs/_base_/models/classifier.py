# A white-box encoder (arch) and one linear layer (in_channels); the norm before it is the encoder's last.
# Mean and std of ImageNet.
model = dict(
    type='mmwhitebox.ImageClassifier',
    data_preprocessor=dict(
        type='ClsDataPreprocessor', mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], to_rgb=True),
    backbone=dict(type='mmwhitebox.WhiteBoxTransformer', img_size=224, patch_size=16),
    head=dict(
        type='LinearClsHead',
        num_classes=1000,
        init_cfg=None,  # torch's own initialisation, as published
        loss=dict(type='LabelSmoothLoss', label_smooth_val=0.1, mode='original')))
