"""The check refuses none of the configs that mmseg and mmpretrain ship, but for those that cannot work or that say what
nothing reads. The ordinary run takes one of every family; ``pytest -m slow`` takes them all."""
import importlib.util
import re
from collections import Counter
from pathlib import Path

import mmpretrain
import mmseg
import pytest
from mmengine.config import Config

from mmwhitebox.config.check import check_config
from mmwhitebox.errors import ConfigError

FOLDERS = {'mmseg': Path(mmseg.__file__).parent / '.mim' / 'configs',
           'mmpretrain': Path(mmpretrain.__file__).parent / '.mim' / 'configs'}
MULTIMODAL = ('COCO(Caption|VQA|Retrieval)|FlamingoEvalCOCO(VQA|Caption)|RefCOCO|Flickr30k(Caption|Retrieval)|NoCaps|'
              'OCRVQA|VisualGenomeQA|GQA|MiniGPT4Dataset')

# What the check says rightly: line of the message, reason (read in the class that would be built), and the package
# without which it is so.
TRUE_REFUSALS = [
    (r"model\.decode_head\.\w+: unknown key; .*(did you mean '(feat|out)_channels'|'ignore_index'|'init_cfg'|"
     r'Mask(2)?FormerHead takes)', 'without mmdet both heads stand on BaseModule, which takes init_cfg only', 'mmdet'),
    (rf"(train|val|test)_dataloader\.dataset\.(datasets\.\d\.)?type: unknown type '({MULTIMODAL})'",
     'mmpretrain.datasets registers these only where pycocotools and transformers are', 'transformers'),
    (r'train_cfg\.max_epochs: unknown key; IterBasedTrainLoop takes',
     'Runner.build_train_loop counts iterations where neither type nor by_epoch is given', None),
    (r'train_cfg\.by_epoch: unknown key; EpochBasedTrainLoop takes',
     'Runner.build_train_loop: only one of type and by_epoch can be given', None),
    (r"models: unknown key; did you mean 'model'\?",
     'bisenetv2_fcn_4xb4-ohem-160k: its losses stand under models, which nothing reads', None),
    (r"model\.train_cfg\.augments\.type: unknown type 'BatchCutMix'; did you mean 'CutMix'\?",
     'no such class in BATCH_AUGMENTS since mmpretrain 1.0', None),
]
UNREADABLE = re.compile('custom modules|mmdet is not installed|inheritance chain|test_pipeline')  # by mmengine itself


def problems(path, scope):
    """What the check says about a config, line by line; None when mmengine cannot read it."""
    try:
        cfg = Config.fromfile(path)
    except Exception as error:
        assert UNREADABLE.search(str(error)), f'{path}: {error}'
        return None
    cfg.setdefault('default_scope', scope)  # of configs that are parts of others
    try:
        check_config(cfg)
    except ConfigError as error:
        return [line.strip() for line in str(error).splitlines()[1:]]
    return []


def sweep(scope, paths):
    """How many configs were read, and how often each reason was met; any other refusal fails."""
    read, met = 0, Counter()
    for path in paths:
        found = problems(path, scope)
        read += found is not None
        for line in found or []:
            reasons = [reason for pattern, reason, needs in TRUE_REFUSALS
                       if re.match(pattern, line) and (needs is None or importlib.util.find_spec(needs) is None)]
            assert reasons, f'{path.relative_to(FOLDERS[scope])} is refused: {line}'
            met.update(reasons[:1])
    return read, met


def configs(scope):
    return sorted(path for path in FOLDERS[scope].rglob('*.py') if '_base_' not in path.parts)


@pytest.mark.parametrize('scope', FOLDERS)
def test_every_family(scope):
    families = {path.parent: path for path in configs(scope)}  # the last of each
    read, _ = sweep(scope, families.values())
    assert read > 40


@pytest.mark.parametrize('name', [
    'mmseg/segformer/segformer_mit-b0_8xb2-160k_ade20k-512x512.py',  # custom_keys={'head': dict(lr_mult=10.)}
    'mmseg/swin/swin-tiny-patch4-window7_upernet_1xb8-20k_levir-256x256.py',  # Albu; data_prefix.img_path2
    'mmseg/vpd/vpd_sd_4xb8-25k_nyu-512x512.py',  # depth_map_path
    'mmpretrain/resnest/resnest50_32xb64_in1k.py',  # policies with magnitude_key
    'mmpretrain/flamingo/flamingo_zeroshot_vqa.py',  # arguments that the model takes out before it builds a part
    'mmpretrain/vision_transformer/vit-base-p16_8xb64-lora_in1k-384px.py',  # targets with a type that is no class
    'mmpretrain/beitv2/beitv2_beit-base-p16_8xb256-amp-coslr-300e_in1k.py',  # lists where the annotation says int
])
def test_idioms(name):
    scope, _, path = name.partition('/')
    sweep(scope, [FOLDERS[scope] / path])


@pytest.mark.slow
@pytest.mark.parametrize('scope, count', [('mmseg', 670), ('mmpretrain', 520)])
def test_all(scope, count):
    read, _ = sweep(scope, configs(scope))
    assert read >= count


@pytest.mark.parametrize('name, reason', [
    ('mmseg/bisenetv2/bisenetv2_fcn_4xb4-ohem-160k_cityscapes-1024x1024.py', 4),
    ('mmpretrain/resnet/resnet50_8xb32-cutmix_in1k.py', 5),
    ('mmpretrain/maskfeat/benchmarks/vit-base-p16_8xb256-coslr-100e_in1k.py', 3),
    ('mmpretrain/blip/blip-base_8xb32_caption.py', 2),
])
def test_true_refusals(name, reason):
    scope, _, path = name.partition('/')
    _, met = sweep(scope, [FOLDERS[scope] / path])
    assert met[TRUE_REFUSALS[reason][1]] == 1
