# A pretrained AugReg ViT-S/16 whose attention is exchanged for one of linear cost, its weights kept. Mean and std are
# those of ImageNet, as in the published adaptation; the ViT itself was trained with 127.5.
model = dict(
    type='mmwhitebox.ImageClassifier',
    data_preprocessor=dict(
        type='ClsDataPreprocessor', mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], to_rgb=True),
    backbone=dict(
        type='mmwhitebox.TimmViT',
        model_name='vit_small_patch16_224.augreg_in21k_ft_in1k',
        img_size=224,
        pretrained=True,
        out_type='cls_token',
        attention='agent'),
    head=dict(
        type='LinearClsHead',
        num_classes=1000,
        in_channels=384,
        loss=dict(type='LabelSmoothLoss', label_smooth_val=0.1, mode='original'),
        init_cfg=dict(type='mmwhitebox.TimmClassifier', model_name='vit_small_patch16_224.augreg_in21k_ft_in1k')))
