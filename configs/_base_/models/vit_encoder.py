# An AugReg ViT-S/16 (384 px, ImageNet-21k then 1k), positions interpolated to the crop; no head yet.
data_preprocessor = dict(
    type='SegDataPreProcessor',
    mean=[127.5, 127.5, 127.5],
    std=[127.5, 127.5, 127.5],
    bgr_to_rgb=True,
    pad_val=0,
    seg_pad_val=255,
    size=(512, 512))
model = dict(
    type='mmwhitebox.EncoderDecoder',
    data_preprocessor=data_preprocessor,
    backbone=dict(
        type='mmwhitebox.TimmViT',
        model_name='vit_small_patch16_384.augreg_in21k_ft_in1k',
        img_size=512,
        norm_eps=1e-5,  # as the papers train it; timm's own is 1e-6
        pretrained=True,
        drop_path_rate=0.1),
    # Published evaluation: small images are enlarged to the window, windows overlap by 32 pixels. During the
    # training they only meet.
    test_cfg=dict(
        mode='slide', crop_size=(512, 512), stride=(480, 480), enlarge=True, val=dict(stride=(512, 512))))
