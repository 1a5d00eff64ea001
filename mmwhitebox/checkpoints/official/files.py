"""Converted checkpoints as files: weights with their meta data, and the config that loads them."""
import os
from collections import OrderedDict
from pathlib import Path

from mmengine.config import Config, ConfigDict
from mmpretrain.datasets.categories import IMAGENET_CATEGORIES
from mmseg.datasets import ADE20KDataset, CityscapesDataset

from mmwhitebox.errors import CheckpointError, joined
from mmwhitebox.models.position_tables import KEY as GRID_KEY

from .convert import convert_official, convert_to_official, unwrap
from .describe import default_scope, describe_official, known_heads, missing_or_reshaped
from .keys import CLASSIFIERS, SELF_SUPERVISED

CLASSIFICATION_CLASSES = {1000: dict(classes=IMAGENET_CATEGORIES)}
SEGMENTATION_CLASSES = {150: ADE20KDataset.METAINFO, 19: CityscapesDataset.METAINFO}

# Files of configs/_base_: the recipe of a family, and its data set by image size or crop.
SCHEDULES = {
    'cbt': 'imagenet_lion_150e', 'crate': 'imagenet_lion_200e', 'crate-alpha': 'crate_alpha_finetune_91e',
    'crate-alpha-jax': 'crate_alpha_finetune_91e', 'tost': 'imagenet_deit_400e'}
IMAGENET_DATASETS = {
    'cbt': {224: 'imagenet_224', 384: 'imagenet_384'},
    'crate': {224: 'imagenet_224', 384: 'imagenet_384'},
    'crate-alpha': {224: 'imagenet_224_randaug'},
    'crate-alpha-jax': {224: 'imagenet_224_randaug'},
    'tost': {224: 'imagenet_224_deit'}}
ADE20K_DATASETS = {512: 'ade20k', 640: 'ade20k_640'}


def num_classes_of(model: ConfigDict) -> int | None:
    """Number of classes of a classifier or segmentor config; None of what knows no classes."""
    return model.get('head', model.get('decode_head')).get('num_classes')


def dataset_meta(family: str, num_classes: int | None) -> dict:
    """Class names (and the palette) of the data set with this many classes; empty if none is known."""
    known = CLASSIFICATION_CLASSES if family in CLASSIFIERS else SEGMENTATION_CLASSES
    return {key: [value if isinstance(value, str) else list(value) for value in values]
            for key, values in known.get(num_classes, {}).items() if key in ('classes', 'palette')}


def with_grid(state_dict: dict, backbone: ConfigDict) -> dict:
    """A state dict that says, for models of other sizes, which grid its position table is made for: the rows do not."""
    patch_size = backbone.get('patch_size') or backbone.get('model_kwargs', {}).get('patch_size', 16)
    owner = 'backbone' if backbone.type == 'mmwhitebox.TimmViT' else 'backbone.pos_embed'
    told = OrderedDict(state_dict)
    told._metadata = {owner: {GRID_KEY: tuple(side // patch_size for side in backbone['img_size'])}}
    return told


def convert_checkpoint(
        checkpoint: dict, family: str, num_heads: int | None = None,
        img_size: tuple[int, int] | None = None) -> tuple[dict, ConfigDict]:
    """An official checkpoint -> one of mmwhitebox with all its meta data, checked against the model.

    Args:
        checkpoint (dict): As written by the official code; optimizer and the like are left out.
        family (str): As in :func:`convert_official`.
        num_heads (int, optional): As in :func:`describe_official`. Defaults to None.
        img_size (tuple[int, int], optional): As in :func:`describe_official`. Defaults to None.

    Returns:
        tuple[dict, ConfigDict]: The checkpoint: ``state_dict`` and ``meta`` with ``source_family``,
        ``model`` (its config), ``pool_tokens`` (if it has a CBSA that pools the class token) and
        ``dataset_meta`` (class names, if known). And the config of the model.

    Raises:
        CheckpointError: It is of another family, or not whole: keys and shapes are named.
        ValueError: Unknown family.
    """
    official = unwrap(checkpoint)
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
    names = dataset_meta(family, num_classes_of(model))
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
        dataset, runtime = {224: 'imagenet_224_mae'}.get(img_size), 'default_runtime_selfsup'
        known, schedule = True, 'crate_mae_800e'
    elif family in CLASSIFIERS:
        dataset, runtime = IMAGENET_DATASETS[family].get(img_size), 'default_runtime_cls'
        known, schedule = num_classes in CLASSIFICATION_CLASSES, SCHEDULES[family]
    else:
        dataset, runtime = ADE20K_DATASETS.get(img_size), 'default_runtime'
        known, schedule = num_classes == 150, 'schedule_160k'
    if not known or dataset is None:
        return []
    return [f'datasets/{dataset}.py', f'schedules/{schedule}.py', f'{runtime}.py']


def config_text(model: ConfigDict, family: str, configs: Path, folder: Path) -> str:
    """Text of a config file for a converted model.

    Args:
        model (ConfigDict): From :func:`describe_official`.
        family (str): Its family.
        configs (Path): The folder ``configs/_base_``.
        folder (Path): Where the file will lie; its ``_base_`` is relative to that.

    Returns:
        str: The model with the data set, schedule and runtime that fit it, as ``_base_``; if the data set
        is not known from the number of classes and the image size, the model and ``default_scope`` alone.
    """
    bases = base_configs(model, family)
    content = dict(_base_=[Path(os.path.relpath(configs / name, folder)).as_posix() for name in bases]) \
        if bases else dict(default_scope=default_scope(family))
    return Config(dict(**content, model=model.to_dict())).pretty_text
