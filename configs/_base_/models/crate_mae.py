# A white-box encoder (arch) and its transpose as a masked autoencoder; mean and std of ImageNet.
# **reading**: targets standardised patch by patch, as MAE's published command has it.
model = dict(
    type='mmwhitebox.CRATEMAE',
    data_preprocessor=dict(
        type='ClsDataPreprocessor', mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], to_rgb=True),
    backbone=dict(type='mmwhitebox.WhiteBoxTransformer', img_size=224, patch_size=16),
    head=dict(type='mmwhitebox.CRATEMAEHead', norm_pix=True),
    mask_ratio=0.75)
custom_hooks = [dict(type='mmwhitebox.ReconstructionVisHook', interval=1000)]
