"""Converted checkpoints as files: weights with their meta data, and the config that loads them."""
import os
from collections import OrderedDict
from pathlib import Path

from mmengine.config import Config, ConfigDict
from mmpretrain.datasets.categories import CIFAR10_CATEGORIES, CIFAR100_CATEGORIES, IMAGENET_CATEGORIES
from mmseg.datasets import ADE20KDataset, CityscapesDataset, PascalContextDataset, PascalContextDataset59

from mmwhitebox.errors import CheckpointError, joined
from mmwhitebox.models.position_tables import KEY as GRID_KEY

from .convert import convert_official, convert_to_official, official_weights, unwrap
from .describe import default_scope, describe_official, known_heads, missing_or_reshaped
from .keys import CLASSIFIERS, SELF_SUPERVISED

# The data sets of the published models with so many classes; other numbers are of anybody's data.
CLASSIFICATION_CLASSES = {1000: dict(classes=IMAGENET_CATEGORIES)}
SEGMENTATION_CLASSES = {
    150: ADE20KDataset.METAINFO, 60: PascalContextDataset.METAINFO, 59: PascalContextDataset59.METAINFO,
    19: CityscapesDataset.METAINFO}
NAMED_CLASSES = {
    'imagenet': CLASSIFICATION_CLASSES[1000],
    'cifar10': dict(classes=CIFAR10_CATEGORIES),
    'cifar100': dict(classes=CIFAR100_CATEGORIES),
    'ade20k': SEGMENTATION_CLASSES[150],
    'pascal_context': SEGMENTATION_CLASSES[60],
    'pascal_context_59': SEGMENTATION_CLASSES[59],
    'cityscapes': SEGMENTATION_CLASSES[19],
}

# Files of configs/_base_: the recipe of a family, and its data set by image size or crop.
SCHEDULES = {
    'cbt': 'imagenet_lion_150e', 'crate': 'imagenet_lion_200e', 'crate-alpha': 'crate_alpha_finetune_91e',
    'crate-alpha-jax': 'crate_alpha_finetune_91e', 'crate-mae': 'crate_mae_800e', 'tost': 'imagenet_deit_400e'}
IMAGENET_DATASETS = {
    'cbt': {224: 'imagenet_224', 384: 'imagenet_384'},
    'crate': {224: 'imagenet_224', 384: 'imagenet_384'},
    'crate-alpha': {224: 'imagenet_224_randaug'},
    'crate-alpha-jax': {224: 'imagenet_224_randaug'},
    'tost': {224: 'imagenet_224_deit'},
    'vit': {},  # what a plain ViT was trained with, its file does not say
    'vit-cbsa': {224: 'imagenet_224', 384: 'imagenet_384'}}
SEGMENTATION_DATASETS = {  # (classes, crop) -> data set, and its schedule and runtime if it does not bring its own
    (150, 512): ('datasets/ade20k.py', 'schedules/schedule_160k.py', 'default_runtime.py'),
    (150, 640): ('datasets/ade20k_640.py', 'schedules/schedule_160k.py', 'default_runtime.py'),
    (19, 768): ('datasets/cityscapes_768.py', ),
    (60, 480): ('datasets/pascal_context_480.py', )}
CROP_SHARE = 224 / 256  # of the short side that a classifier sees
LONGEST_SIDE = 2048  # of an image that a segmentor sees


def num_classes_of(model: ConfigDict) -> int | None:
    """Number of classes of a classifier or segmentor config; None without a head, or of one that knows none."""
    head = model.get('head', model.get('decode_head'))
    return head and head.get('num_classes')


def dataset_meta(family: str, num_classes: int | None, classes: str | None = None) -> dict:
    """Class names (and the palette).

    Args:
        family (str): Family of the weights.
        num_classes (int, optional): Number of classes of the head; None without one.
        classes (str, optional): A name in ``NAMED_CLASSES``, or a text file with one name a line. None: those of the
            published data set with this many classes. Defaults to None.

    Returns:
        dict: Empty if no names are known.

    Raises:
        CheckpointError: There is neither such a name nor such a file, or it has another number of names.
    """
    if classes is None:
        known = CLASSIFICATION_CLASSES if family in CLASSIFIERS else SEGMENTATION_CLASSES
        found = known.get(num_classes, {})
    else:
        if classes not in NAMED_CLASSES and not Path(classes).is_file():
            raise CheckpointError(f'--classes {classes}: neither a file nor one of {joined(list(NAMED_CLASSES))}.')
        found = NAMED_CLASSES.get(classes) or dict(
            classes=[line.strip() for line in Path(classes).read_text().splitlines() if line.strip()])
        if len(found['classes']) != num_classes:
            raise CheckpointError(f'--classes {classes} has {len(found["classes"])} names; '
                                  + ('the weights have no head.' if num_classes is None else
                                     f'the head has {num_classes} outputs.'))
    return {key: [value if isinstance(value, str) else list(value) for value in values]
            for key, values in found.items() if key in ('classes', 'palette')}


def with_grid(state_dict: dict, backbone: ConfigDict) -> dict:
    """A state dict that says, for models of other sizes, which grid its position table is made for: the rows do not."""
    patch_size = backbone.get('patch_size') or backbone.get('model_kwargs', {}).get('patch_size', 16)
    owner = 'backbone' if backbone.type == 'mmwhitebox.TimmViT' else 'backbone.pos_embed'
    told = OrderedDict(state_dict)
    told._metadata = {owner: {GRID_KEY: tuple(side // patch_size for side in backbone['img_size'])}}
    return told


def convert_checkpoint(
        checkpoint: dict, family: str, num_heads: int | None = None,
        img_size: tuple[int, int] | None = None, classes: str | None = None) -> tuple[dict, ConfigDict]:
    """An official checkpoint -> one of mmwhitebox with all its meta data, checked against the model.

    Args:
        checkpoint (dict): As written by the official code; optimizer and the like are left out.
        family (str): As in :func:`convert_official`.
        num_heads (int, optional): As in :func:`describe_official`. Defaults to None.
        img_size (tuple[int, int], optional): As in :func:`describe_official`. Defaults to None.
        classes (str, optional): As in :func:`dataset_meta`. Defaults to None.

    Returns:
        tuple[dict, ConfigDict]: The checkpoint: ``state_dict`` and ``meta`` with ``source_family``,
        ``model`` (its config), ``pool_tokens`` (if it has a CBSA that pools the class token) and
        ``dataset_meta`` (class names, if known). And the config of the model.

    Raises:
        CheckpointError: It is of another family, or not whole: keys and shapes are named.
        ValueError: Unknown family.
    """
    official = official_weights(checkpoint, family)
    state_dict = convert_official(official, family)
    model = describe_official(official, family, num_heads, img_size)
    problems = missing_or_reshaped(official, family, model)
    if problems:
        raise CheckpointError(f'The state dict is no whole model of the family {family}. It lacks '
                              f'{joined(problems)}.')
    if not isinstance(model.backbone.img_size, int):
        state_dict = with_grid(state_dict, model.backbone)
    meta = dict(source_family=family, model=model.to_dict())
    attention = model.backbone.get('attention', [])
    layers = [attention] if isinstance(attention, dict) else attention
    pool_tokens = {layer['pool_tokens'] for layer in layers if 'pool_tokens' in layer}
    if pool_tokens:
        meta['pool_tokens'] = pool_tokens.pop()
    names = dataset_meta(family, num_classes_of(model), classes)
    if names:
        meta['dataset_meta'] = names
    return dict(meta=meta, state_dict=state_dict), model


def official_checkpoint(checkpoint: dict, family: str, num_heads: int | None = None) -> dict:
    """A checkpoint of mmwhitebox -> the container and layout that the official code reads.

    Args:
        checkpoint (dict): Of mmwhitebox.
        family (str): As in :func:`convert_official`.
        num_heads (int, optional): For 'crate-alpha-jax', if the width is that of no published model. Defaults to None.

    Raises:
        CheckpointError: It is of another family, or the number of heads is not known.
    """
    if family == 'crate-alpha-jax':  # arrays, without a container
        state_dict = unwrap(checkpoint)
        token = state_dict.get('backbone.cls_token')
        heads = num_heads or (None if token is None else known_heads('crate-alpha', token.shape[-1]))
        return convert_to_official(state_dict, family, heads)
    container = 'state_dict' if family in ('cbt', 'crate', 'crate-alpha') else 'model'
    return {container: convert_to_official(checkpoint, family)}


def base_configs(model: ConfigDict, family: str) -> list[str]:
    """Files of ``configs/_base_`` that fit a model: data set, schedule, runtime; none if one is missing."""
    num_classes, img_size = num_classes_of(model), model.backbone.img_size
    if family in SELF_SUPERVISED:
        dataset, runtime, known = {224: 'imagenet_224_mae'}.get(img_size), 'default_runtime_selfsup', True
    elif family in CLASSIFIERS:
        dataset, runtime = IMAGENET_DATASETS[family].get(img_size), 'default_runtime_cls'
        known = num_classes in CLASSIFICATION_CLASSES
    else:
        return list(SEGMENTATION_DATASETS.get((num_classes, img_size), ()))
    if not known or dataset is None:
        return []
    return [f'datasets/{dataset}.py', f'schedules/{SCHEDULES[family]}.py', f'{runtime}.py']


def test_pipeline(model: ConfigDict, family: str) -> list[dict]:
    """How an image is prepared for a model that no file of ``configs/_base_`` fits, as those files do it."""
    load, img_size = dict(type='LoadImageFromFile', _scope_='mmwhitebox'), model.backbone['img_size']
    height, width = (img_size, img_size) if isinstance(img_size, int) else img_size
    if family not in (*CLASSIFIERS, *SELF_SUPERVISED):
        return [load, dict(type='Resize', scale=(LONGEST_SIDE, min(height, width)), keep_ratio=True),
                dict(type='PackSegInputs')]
    resize = dict(backend='pillow', interpolation='bilinear')
    steps = [dict(type='ResizeEdge', scale=round(height / CROP_SHARE), edge='short', **resize),
             dict(type='CenterCrop', crop_size=height)] if height == width else \
        [dict(type='Resize', scale=(width, height), **resize)]
    return [load, *steps, dict(type='PackInputs')]


def config_text(model: ConfigDict, family: str, configs: Path, folder: Path) -> str:
    """Text of a config file for a converted model.

    Args:
        model (ConfigDict): From :func:`describe_official`.
        family (str): Its family.
        configs (Path): The folder ``configs/_base_``.
        folder (Path): Where the file will lie; its ``_base_`` is relative to that.

    Returns:
        str: The model with the data set, schedule and runtime that fit it, as ``_base_``; if the data set
        is not known from the number of classes and the image size, the model, ``default_scope`` and a
            ``test_pipeline``.
    """
    bases = base_configs(model, family)
    content = dict(_base_=[Path(os.path.relpath(configs / name, folder)).as_posix() for name in bases]) \
        if bases else dict(default_scope=default_scope(family), test_pipeline=test_pipeline(model, family))
    return Config(dict(**content, model=model.to_dict())).pretty_text
