"""Small models of every arch and every decoder, for the tests of pretrained folders."""
from mmengine.config import Config

from mmwhitebox.models.backbones import WhiteBoxTransformer
from tests.configs import reduced_arch
from tests.test_apis.test_export import CBT, DEPICT, LINEAR, SEGMENTER, segmentor

LOAD = dict(type='LoadImageFromFile', _scope_='mmwhitebox')
CLASSES = ['cat', 'dog', 'cow']
DEPICT_SA = dict(type='mmwhitebox.WhiteBoxMaskHead', num_layers=1,
                 attention=dict(type='MSSA', num_heads=2, head_dims=6, out_proj='shared'))
HEADS = {'cbt': CBT, 'depict-sa': DEPICT_SA, 'depict-ca': DEPICT, 'segmenter-mask': SEGMENTER,
         'segmenter-linear': LINEAR}


def with_pipeline(cfg: Config, *steps: dict) -> Config:
    """A config whose test pipeline has these steps between loading and packing."""
    pack = 'PackSegInputs' if 'decode_head' in cfg.model else 'PackInputs'
    cfg.test_pipeline = [LOAD, *steps, dict(type=pack)]
    return cfg


def small_segmentor(head: str = 'cbt') -> Config:
    """A ViT of one layer with a decoder, for images of 32 x 32, of their own size."""
    return with_pipeline(segmentor(HEADS[head]))


def small_classifier(arch: str = 'cbt-tiny') -> Config:
    """One layer, or two where they differ, of width 24."""
    settings = {**reduced_arch(arch), 'embed_dims': 24, 'num_heads': 2}
    settings['layer_scale_init_value'] = settings.get('layer_scale_init_value') or None
    return with_pipeline(Config(dict(
        default_scope='mmpretrain',
        model=dict(
            type='ImageClassifier',
            data_preprocessor=dict(type='ClsDataPreprocessor', mean=[123.675, 116.28, 103.53],
                                   std=[58.395, 57.12, 57.375], to_rgb=True),
            backbone=dict(type='mmwhitebox.WhiteBoxTransformer', arch=settings, img_size=32, patch_size=8),
            head=dict(type='LinearClsHead', num_classes=3, in_channels=24)),
        test_dataloader=dict(dataset=dict(type='CustomDataset', metainfo=dict(classes=CLASSES))))),
        dict(type='Resize', scale=(32, 32), backend='pillow'))


SMALL = {str(small_classifier(arch)): arch for arch in sorted(WhiteBoxTransformer.arch_zoo, reverse=True)}
ARCHS = sorted(SMALL.values())  # those that differ by more than their sizes
MODELS = {**{arch: (small_classifier, arch) for arch in ARCHS}, **{head: (small_segmentor, head) for head in HEADS}}


def config_of(name: str) -> Config:
    """The config of one of :data:`MODELS`."""
    make, kind = MODELS[name]
    return make(kind)
