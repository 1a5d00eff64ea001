_base_ = [
    '../_base_/models/simdino.py', '../_base_/datasets/imagenet_224_multicrop.py',
    '../_base_/schedules/simdino_100e.py', '../_base_/default_runtime_selfsup.py'
]
model = dict(
    backbone=dict(
        type='mmwhitebox.TimmViT',
        model_name='vit_base_patch16_224',
        img_size=224,
        out_type='cls_token',
        drop_path_rate=0.1))
