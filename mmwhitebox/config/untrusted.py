"""What the config of a stranger may say: registered names and plain values; nothing that reads, fetches or runs.

mmengine's ``Registry.get`` imports any dotted name that no registry has, so a config could call whatever it likes. Here
names are looked up in the registries alone, in those by which their place is built: what another registry has would be
imported as a module all the same. Some of the stack's classes read files or fetch weights when they are
built; they are not among those that are taken.
"""
import inspect
import math
import re
from collections.abc import Iterator, Sequence
from typing import Any

import mmengine.registry as mm
from mmcv.transforms import LoadImageFromFile
from mmengine.registry import Registry
from mmpretrain.registry import BATCH_AUGMENTS

from mmwhitebox.datasets.transforms import LoadImage
from mmwhitebox.errors import CheckpointError
from mmwhitebox.registry import ATTENTIONS, EMBEDDINGS, FEEDFORWARDS

SCOPES = ('mmengine', 'mmseg', 'mmpretrain', 'mmwhitebox')
MODEL_PARTS = (mm.MODELS, )
PLACES: dict[str, tuple[Registry, ...]] = dict(  # by the key of a part; all others are built by MODELS
    attention=(ATTENTIONS, ), class_attention=(ATTENTIONS, ), feedforward=(FEEDFORWARDS, ), stem=(EMBEDDINGS, ),
    position=(EMBEDDINGS, ), sampler=(mm.TASK_UTILS, ), assigner=(mm.TASK_UTILS, ), match_costs=(mm.TASK_UTILS, ),
    augments=(BATCH_AUGMENTS, ))
STEPS = (mm.TRANSFORMS, )
# Of the stack, the modules whose classes are taken, and those among them that read or fetch when they are built.
NETWORKS = ('torch.nn.', 'mmcv.cnn.', 'mmengine.model.', 'mmengine.utils.dl_utils.', 'mmseg.structures.sampler.',
            *(f'mmseg.models.{name}.' for name in ('assigners', 'backbones', 'data_preprocessor', 'decode_heads',
                                                   'losses', 'necks', 'segmentors', 'utils')),
            *(f'mmpretrain.models.{name}.' for name in ('backbones', 'classifiers', 'heads', 'losses', 'necks',
                                                        'utils')))
FETCHING = ('mmseg.models.backbones.timm_backbone.', 'mmseg.models.backbones.vpd.',
            'mmpretrain.models.backbones.timm_backbone.', 'mmpretrain.models.classifiers.hugging_face.',
            'mmpretrain.models.classifiers.timm.', 'mmpretrain.models.utils.huggingface.',
            'mmpretrain.models.utils.tokenizer.', 'mmpretrain.models.heads.vqa_head.')
TRANSFORMS = ('mmcv.transforms.', 'mmseg.datasets.transforms.', 'mmpretrain.datasets.transforms.')
OF_STACK = ('torch', 'torchvision', 'functools', 'mmcv', 'mmengine', 'mmseg', 'mmpretrain')

READING_KEYS = re.compile(r'init_cfg|pretrained|pretrained_\w+|custom_imports|_base_|_delete_|backend_args|'
                          r'file_client_args|load_from|command|(\w*_)?(path|paths|file|files|filename|dir|folder|root|'
                          r'url|urls|checkpoint|ckpt|cache|imports?)')
PLAIN_TEXT = re.compile(r'[\w .,+\-]*', re.ASCII)
FILE_NAME = re.compile(r'(.*\.)?(json|ya?ml|pkl|pickle|np[yz]|pth?|pt2|bin|ckpt|safetensors|onnx|py|so|txt|csv|tsv|zip|'
                       r'tar|gz|h5|mat|msgpack|jpe?g|png|tiff?)', re.IGNORECASE | re.DOTALL)
NAME = re.compile(r'[A-Za-z_][\w\-]*', re.ASCII)
LARGEST = 1 << 20  # whole number: no size, depth or number of classes is larger
DEEPEST = 40
LONGEST_TEXT = 200


def check_architecture(model: Any, scope: str, source: Any) -> None:
    """Look at the config of a model, all the way down.

    Args:
        model (dict): Config with a type.
        scope (str): Default scope.
        source (Any): What it is of, for the message.

    Raises:
        CheckpointError: It is refused; the message names the place.
    """
    if not isinstance(model, dict) or 'type' not in model:
        raise CheckpointError(f'{source} was refused: its model is no dict with a type.')
    _check(model, 'model', scope, MODEL_PARTS, source)


def check_pipeline(steps: Any, scope: str, source: Any) -> None:
    """Look at the steps that prepare an image; they read that image and nothing else.

    Raises:
        CheckpointError: They are refused; the message names the place.
    """
    if not isinstance(steps, list) or not steps or not all(isinstance(step, dict) for step in steps):
        raise CheckpointError(f'{source} was refused: its test_pipeline is no list of steps.')
    _check(steps, 'test_pipeline', scope, STEPS, source)
    if not all('type' in step for step in steps) or not steps[-1]['type'].rpartition('.')[2].startswith('Pack'):
        raise CheckpointError(f'{source} was refused: each step of its test_pipeline has a type, and the last one '
                              'packs the image.')
    if not reads_image(find(steps[0].get('type'), steps[0].get('_scope_', scope), STEPS)):
        raise CheckpointError(f'{source} was refused: its test_pipeline does not begin with a step that loads the '
                              'image.')


def check_values(values: Any, path: str, source: Any) -> None:
    """Look at values that name no class.

    Raises:
        CheckpointError: They are refused.
    """
    _check(values, path, 'mmengine', STEPS, source)


def registries_of(key: str, around: tuple[Registry, ...]) -> tuple[Registry, ...]:
    """The registries by which a part is built: by its key in a model, those of steps in a pipeline."""
    return around if around is STEPS else PLACES.get(key, MODEL_PARTS)


def find(name: Any, scope: str, registries: Sequence[Registry]) -> Any:
    """What a name stands for in the first of some registries that has it, or in their parents; None if nothing."""
    given, dot, key = name.rpartition('.') if isinstance(name, str) else ('', '', '')
    if (dot and not given) or not NAME.fullmatch(key) or (given or scope) not in SCOPES:
        return None
    for node in _nodes(registries, given or scope):
        node.import_from_location()
        if key in node.module_dict:
            return node.module_dict[key]
    return None


def _nodes(registries: Sequence[Registry], scope: str) -> Iterator[Registry]:
    for root in registries:
        node = root.children.get(scope, root)
        while node is not None:
            yield node
            node = node.parent


def reads_image(cls: Any) -> bool:
    """Whether a step loads the image, as it stands in its file."""
    return inspect.isclass(cls) and (issubclass(cls, LoadImage) or cls.__name__ == LoadImageFromFile.__name__)


def reads(key: str) -> bool:
    """Whether the argument of a name fetches or reads files, or runs code."""
    return READING_KEYS.fullmatch(key) is not None


def is_source(key: Any, value: Any) -> bool:
    """Whether an argument says where a training fetches or reads something; mmseg reads weights of classes, too."""
    return reads(str(key)) or (key == 'class_weight' and isinstance(value, str))


def without_sources(value: Any) -> Any:
    """A config without the arguments by which a training fetches or reads something."""
    if isinstance(value, dict):
        return {key: without_sources(item) for key, item in value.items() if not is_source(key, item)}
    return [without_sources(item) for item in value] if isinstance(value, list) else value


def names_file(text: str) -> bool:
    """Whether a text could be a path, an address or the name of a file."""
    return PLAIN_TEXT.fullmatch(text) is None or FILE_NAME.fullmatch(text) is not None


def why_not(cls: Any, registries: Sequence[Registry]) -> str | None:
    """Why a registered class is not taken; None if it is."""
    module = f'{getattr(cls, "__module__", "")}.'
    stack = module.partition('.')[0] in OF_STACK
    if registries is STEPS:
        loads = 'Load' in getattr(cls, '__name__', '') and not reads_image(cls)
        if loads or (stack and not module.startswith(TRANSFORMS)):
            return 'it reads other files than the image, or is no plain step'
    elif stack and (not inspect.isclass(cls) or not module.startswith(NETWORKS) or module.startswith(FETCHING)):
        return 'it reads or fetches something when it is built, or is no plain part of a network'
    return None


def _check(value: Any, path: str, scope: str, registries: tuple[Registry, ...], source: Any, depth: int = 0) -> None:
    def refuse(what: str) -> None:
        raise CheckpointError(f'{source} was refused: {path} {what}.')

    if depth > DEEPEST:
        refuse('is nested too deeply')
    if isinstance(value, dict):
        own = value.get('_scope_', scope)
        if own not in SCOPES:
            refuse(f'asks for the scope {own!r}; there are {", ".join(SCOPES)}')
        if 'type' in value:
            _check_type(value['type'], path, own, registries, source)
            if registries[0].scope == 'mmwhitebox':  # in full, so that no other registry would import a module
                value['type'] = f'mmwhitebox.{value["type"].rpartition(".")[2]}'
        for key, item in value.items():
            if not isinstance(key, str) or not NAME.fullmatch(key):
                refuse(f'has the key {key!r}')
            if is_source(key, item) and item:
                raise CheckpointError(f'{source} was refused: {path}.{key} would fetch or read something, or run '
                                      'code.')
            if key not in ('type', '_scope_'):
                _check(item, f'{path}.{key}', own, registries_of(key, registries), source, depth + 1)
    elif isinstance(value, list):
        for i, item in enumerate(value):
            _check(item, f'{path}.{i}', scope, registries, source, depth + 1)
    elif isinstance(value, str):
        if len(value) > LONGEST_TEXT or names_file(value):
            refuse(f'is {value[:LONGEST_TEXT]!r}, which could be the name of a file or an address')
    elif isinstance(value, float):
        if not math.isfinite(value):
            refuse(f'is {value}')
    elif isinstance(value, int):
        if abs(value) > LARGEST:
            refuse(f'is {value}; the largest number is {LARGEST}')
    elif value is not None:
        refuse(f'is {type(value).__name__}')


def _check_type(name: Any, path: str, scope: str, registries: Sequence[Registry], source: Any) -> None:
    """Raise a CheckpointError unless a type is the name of a class that is taken."""
    found = find(name, scope, registries)
    if found is None:
        raise CheckpointError(f'{source} was refused: {path}.type is {name!r}, which no registry of this place in '
                              f'{", ".join(SCOPES)} has. A class of your own is registered by importing its module '
                              'first.')
    reason = why_not(found, registries)
    if reason is not None:
        raise CheckpointError(f'{source} was refused: {path}.type is {name!r}: {reason}.')
