"""Checking a config before anything is built: unknown keys, unknown types, values of the wrong kind.

mmengine hands a config on as keyword arguments, so a misspelt key shows late, as a TypeError of some constructor, or
never, where nothing reads it. One rule decides what is refused: only what would certainly fail or be ignored. So only
those dicts are looked at whose builder is known, and a key that the code of the builder mentions is left to it.
"""
import difflib
import inspect
from collections.abc import Iterable, Iterator
from typing import Any

import mmengine.registry as mm
from mmcv.transforms import RandomChoiceResize, RandomResize
from mmcv.transforms.wrappers import Compose, KeyMapper, RandomApply, RandomChoice
from mmengine.config import Config
from mmengine.optim import DefaultOptimWrapperConstructor
from mmengine.registry import Registry
from mmengine.runner import Runner
from mmpretrain.registry import BATCH_AUGMENTS
from torch.nn.utils import clip_grad_norm_
from torch.utils.data import DataLoader

from mmwhitebox.config_parts import find_type
from mmwhitebox.errors import ConfigError, joined
from mmwhitebox.registry import ATTENTIONS, EMBEDDINGS, FEEDFORWARDS

from .errors import equal
from .signatures import Arguments, accepted_arguments, kind_of, mentions, wrong_kind

RESERVED = {'type', '_scope_', '_delete_'}
# Similarity of a proposal for what is wrong anyway, of what is wrong for being near, and that where any name is taken.
CLOSE, NEAR_MISS, VERY_CLOSE = 0.7, 0.8, 0.85
MAX_NAMED = 12
Registries = tuple[Registry, ...]

# The keys of the Runner, and the registries where it looks up what stands there.
OF_RUNNER: dict[str, Registries] = dict(
    model=(mm.MODELS, ), data_preprocessor=(mm.MODELS, ), tta_model=(mm.MODELS, ), tta_pipeline=(mm.TRANSFORMS, ),
    model_wrapper_cfg=(mm.MODEL_WRAPPERS, ), optim_wrapper=(mm.OPTIM_WRAPPERS, ),
    param_scheduler=(mm.PARAM_SCHEDULERS, ), train_cfg=(mm.LOOPS, ), val_cfg=(mm.LOOPS, ), test_cfg=(mm.LOOPS, ),
    val_evaluator=(mm.METRICS, ), test_evaluator=(mm.METRICS, ), custom_hooks=(mm.HOOKS, ),
    visualizer=(mm.VISUALIZERS, ), log_processor=(mm.LOG_PROCESSORS, ))
TRAINING = {'train_dataloader', 'train_cfg', 'optim_wrapper', 'param_scheduler', 'val_dataloader', 'val_cfg',
            'val_evaluator'}
OTHER_KEYS = {'custom_imports', 'runner_type', 'find_unused_parameters', 'compile'}
VARIABLES = {'train_pipeline', 'val_pipeline', 'test_pipeline'}  # as configs call them
DEFAULT_TYPES = dict(optim_wrapper='OptimWrapper', val_cfg='ValLoop', test_cfg='TestLoop', log_processor='LogProcessor',
                     model_wrapper_cfg='MMDistributedDataParallel')

# The keys under which a class hands a dict to the registry as it stands: of any class, and of ours.
PARTS: dict[str, Registries] = dict(
    **dict.fromkeys(('backbone', 'neck', 'decode_head', 'auxiliary_head', 'head', 'data_preprocessor', 'loss',
                     'loss_decode', 'norm_cfg', 'act_cfg'), (mm.MODELS, )),
    init_cfg=(mm.WEIGHT_INITIALIZERS, ), augments=(BATCH_AUGMENTS, ), dataset=(mm.DATASETS, ),
    datasets=(mm.DATASETS, ), pipeline=(mm.TRANSFORMS, ), metrics=(mm.METRICS, ), optimizer=(mm.OPTIMIZERS, ),
    vis_backends=(mm.VISBACKENDS, ))
OUR_PARTS: dict[str, Registries] = dict(
    attention=(ATTENTIONS, ), class_attention=(ATTENTIONS, ), feedforward=(FEEDFORWARDS, ), stem=(EMBEDDINGS, ),
    position=(EMBEDDINGS, ), regularizers=(mm.MODELS, ), bank=(mm.DATASETS, ))
OF_LOADER: dict[str, Registries] = dict(
    dataset=(mm.DATASETS, ), sampler=(mm.DATA_SAMPLERS, ), batch_sampler=(mm.DATA_SAMPLERS, ),
    collate_fn=(mm.FUNCTIONS, ), worker_init_fn=(mm.FUNCTIONS, ))
NEEDS_DICT = {'model', 'backbone', 'decode_head', 'optim_wrapper', 'optimizer', 'dataset'}
NEEDS_TYPE = {*NEEDS_DICT, 'sampler', 'head', 'attention', 'feedforward', 'loss', 'loss_decode',
              'regularizers'} - {'optim_wrapper'}

# Keys that a builder takes out before it calls the class.
TAKEN_OUT = {
    mm.PARAM_SCHEDULERS: {'convert_to_iter_based', 'epoch_length'},
    mm.OPTIM_WRAPPERS: {'optimizer', 'paramwise_cfg', 'constructor'},
    mm.HOOKS: {'priority'},
    mm.WEIGHT_INITIALIZERS: {'layer', 'override'},
}
TAKEN_OUT_OF = dict(norm_cfg={'requires_grad'}, act_cfg={'inplace'})
LOADER_EXTRA = {'dataset', 'collate_fn', 'worker_init_fn', 'num_batch_per_epoch', 'disable_subprocess_warning'}

# Dicts without a type: what is read there. Others may read other keys, so only near misses are reported.
READ_KEYS: dict[str, set[str]] = dict(
    paramwise_cfg={'custom_keys', 'bias_lr_mult', 'bias_decay_mult', 'norm_decay_mult', 'flat_decay_mult',
                   'dwconv_decay_mult', 'dcn_offset_lr_mult', 'bypass_duplicate'},
    clip_grad={*inspect.signature(clip_grad_norm_).parameters, 'clip_value', 'type'},
    env_cfg={'cudnn_benchmark', 'mp_cfg', 'dist_cfg', 'resource_limit'},
    mp_cfg={'mp_start_method', 'opencv_num_threads'}, dist_cfg={'backend', 'timeout', 'init_backend'},
    auto_scale_lr={'enable', 'base_batch_size'}, data_prefix={'img_path', 'seg_map_path'},
    metainfo={'classes', 'palette', 'shown'}, train_cfg={'augments'},
    test_cfg={'mode', 'crop_size', 'stride', 'enlarge', 'val', 'batch_windows', 'tile_size', 'keep_logits', 'size',
              'size_divisor'},
    arch={'embed_dims', 'num_layers', 'num_heads', 'attention', 'feedforward', 'stem', 'position', 'norm_cfg',
          'final_norm_cfg', 'layer_scale_init_value', 'num_class_layers', 'init_std', 'init_cfg'})
HOOK_NAMES = {'runtime_info', 'timer', 'sampler_seed', 'logger', 'param_scheduler', 'checkpoint', 'visualization'}


def check_config(cfg: Config, training: bool = True) -> None:
    """Compare every dict of a config whose builder is known with what it configures; nothing is built.

    Top-level names that no Runner knows are the config's own variables, and reported only when they are near misses
    of a name that it knows and their value is used nowhere.

    Args:
        cfg (Config): Full config, as it will be built.
        training (bool): Whether what only a training builds is looked at.

    Raises:
        ConfigError: Unknown keys (the nearest known one is proposed), unknown types, or values that are no
            number, text, dict or list where one is needed. All are named with their paths.
    """
    with mm.MODELS.switch_scope_and_registry(cfg.get('default_scope', 'mmseg')):  # imports that scope
        problems = list(dict.fromkeys(_problems(cfg, () if training else TRAINING)))
    if problems:
        name = f'The config {cfg.filename}' if getattr(cfg, 'filename', None) else 'The config'
        raise ConfigError(f'{name} cannot be used:\n  ' + '\n  '.join(problems))


def _problems(cfg: Config, left_out: Iterable[str]) -> Iterator[str]:
    yield from _check_names(cfg)
    for key, value in cfg.items():
        if key in left_out or (value is None and key != 'model'):
            continue
        if key == 'data_preprocessor' and key in (cfg.get('model') or ()):
            continue  # the model's own is taken, this one is a variable
        if key in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
            yield from _check_loader(key, value)
        elif key == 'randomness' and isinstance(value, dict):
            yield from _check_keys(key, value, accepted_arguments(Runner.set_randomness), 'Runner')
        elif key == 'default_hooks' and isinstance(value, dict):
            for name, hook in value.items():
                near = nearest(name, HOOK_NAMES, NEAR_MISS) if name not in HOOK_NAMES else None
                if near and 'type' not in (hook or {}):
                    yield f'{key}.{name}: unknown key; did you mean {near!r}?'
                elif isinstance(hook, dict):
                    yield from _check_typed(f'{key}.{name}', 'hook', hook, (mm.HOOKS, ), needs_type=True)
        elif key in OF_RUNNER:
            yield from _check_part(key, key, value, OF_RUNNER[key])
        elif key in READ_KEYS:
            yield from _check_untyped(key, key, value, Runner)


def _check_names(cfg: Config) -> Iterator[str]:
    """Near misses of the Runner's names. A variable that repeats what stands elsewhere is used there."""
    known = {*inspect.signature(Runner).parameters, *OF_RUNNER, *OTHER_KEYS, *VARIABLES}
    for key, value in cfg.items():
        near = nearest(key, known, NEAR_MISS) if key not in known else None
        if near is None or near in VARIABLES or key.startswith(f'{near}_') or key.endswith(f'_{near}'):
            continue
        holds = isinstance(value, (dict, list, tuple))
        needs = near in {*OF_RUNNER, *READ_KEYS, 'default_hooks', 'randomness'} or near.endswith('_dataloader')
        if holds == needs and not (holds and any(equal(value, part) for part in _parts(cfg, key))):
            yield f'{key}: unknown key; did you mean {near!r}?'


def _check_loader(path: str, value: Any) -> Iterator[str]:
    if not isinstance(value, dict):
        if kind_of(value) not in (None, 'list'):  # an object; several loaders of somebody's loop
            yield f'{path}: must be a dict, got {value!r}'
        return
    loader = accepted_arguments(DataLoader)
    yield from _check_keys(path, value, loader._replace(known={**dict.fromkeys(LOADER_EXTRA), **loader.known}),
                           'a data loader')
    for key, registries in OF_LOADER.items():
        if key in value:
            yield from _check_part(f'{path}.{key}', key, value[key], registries)


def _check_part(path: str, key: str, value: Any, registries: Registries, owner: Any = None) -> Iterator[str]:
    """Check what stands where a class is configured: a dict, a list of dicts, or a plain value."""
    if isinstance(value, dict):
        yield from _check_typed(path, key, value, registries, owner)
    elif key == 'pipeline' and kind_of(value) not in (None, 'list'):
        yield f'{path}: must be a list of steps, got {value!r}'
    elif isinstance(value, (list, tuple)) and key not in ('model', 'optim_wrapper', 'backbone', 'optimizer'):
        for i, item in enumerate(value):
            is_plain = kind_of(item) not in (None, 'list')  # no object
            if isinstance(item, dict):
                yield from _check_typed(f'{path}.{i}', key, item, registries, owner, key == 'pipeline')
            elif (key == 'pipeline' and not callable(item)) or (key in OF_RUNNER and is_plain):
                yield f'{path}.{i}: must be a dict with a type, got {item!r}'
    elif key in NEEDS_DICT and kind_of(value) and (value is not None or key in ('model', 'dataset', 'optimizer')):
        yield f'{path}: must be a dict with a type, got {value!r}'


def _check_typed(path: str, key: str, value: dict, registries: Registries, owner: Any = None,
                 needs_type: bool = False) -> Iterator[str]:
    """Check a dict that a registry builds, and the dicts inside it whose builder is known."""
    if path.endswith('_evaluator') and 'metrics' in value:
        registries, name = (mm.EVALUATOR, ), value.get('type', 'Evaluator')
    elif path == 'train_cfg' and 'type' not in value:
        name = 'EpochBasedTrainLoop' if value.get('by_epoch') else 'IterBasedTrainLoop'
        value = {inner: item for inner, item in value.items() if inner != 'by_epoch'}
    else:
        name = value.get('type', DEFAULT_TYPES.get(path))
    if name is None:
        if needs_type or key in NEEDS_TYPE:
            near = nearest('type', value, CLOSE)
            yield f'{path}: the key type is missing' + (f'; {near!r} stands there' if near else '')
        return
    if not isinstance(name, str) and not callable(name):
        yield f'{path}.type: must be the name of a class, got {name!r}'
        return
    target = find_type(name, registries, value.get('_scope_'))
    if target is None:
        yield _unknown_type(path, name, registries)
        return
    constructor = value.get('constructor', DefaultOptimWrapperConstructor)
    if path == 'optim_wrapper' and \
            find_type(constructor, (mm.OPTIM_WRAPPER_CONSTRUCTORS, )) is not DefaultOptimWrapperConstructor:
        return  # what it does with the dict is its own affair
    extra = set().union(TAKEN_OUT_OF.get(key, ()), *(TAKEN_OUT.get(registry, ()) for registry in registries))
    arguments = _arguments(target, value)
    yield from _check_keys(path, value, arguments._replace(known={**dict.fromkeys(extra), **arguments.known}),
                           getattr(target, '__name__', str(target)),
                           [reader for reader in (owner, target if arguments.open_ended else None) if reader])
    yield from _check_inside(path, value, target)


def _check_inside(path: str, value: dict, owner: Any) -> Iterator[str]:
    """Check the dicts among the arguments of a class (``owner``), as far as their builders are known."""
    bases = getattr(owner, '__mro__', ())
    parts = {**PARTS, **(OUR_PARTS if any(base.__module__.startswith('mmwhitebox.') for base in bases) else {})}
    if any(base in (Compose, KeyMapper, RandomApply, RandomChoice) for base in bases):
        parts['transforms'] = (mm.TRANSFORMS, )
    for key, inner in value.items():
        if key in parts:
            yield from _check_part(f'{path}.{key}', key, inner, parts[key], owner)
        elif key in READ_KEYS:
            yield from _check_untyped(f'{path}.{key}', key, inner, owner)


def _check_untyped(path: str, key: str, value: Any, owner: Any) -> Iterator[str]:
    """Near misses in a dict that has no type; what the code of its owner mentions is read there."""
    if not isinstance(value, dict) or 'type' in value and key != 'clip_grad':
        return
    if key == 'arch' and not owner.__module__.startswith('mmwhitebox.'):
        return
    for name, item in value.items():
        near = nearest(name, READ_KEYS[key], NEAR_MISS) if name not in READ_KEYS[key] else None
        if near and not mentions(owner, name):
            yield f'{path}.{name}: unknown key; did you mean {near!r}?'
        elif name == 'custom_keys' and isinstance(item, dict):
            for pattern, group in item.items():
                wrong = {} if not isinstance(group, dict) else {
                    inner: nearest(inner, ('lr_mult', 'decay_mult'), NEAR_MISS)
                    for inner in group if inner not in ('lr_mult', 'decay_mult')}
                yield from (f'{path}.{name}.{pattern}.{inner}: unknown key; did you mean {near!r}?'
                            for inner, near in wrong.items() if near)
                if kind_of(group) not in (None, 'dict'):
                    yield f'{path}.{name}.{pattern}: must be a dict such as dict(lr_mult=0.1), got {group!r}'
    yield from _check_inside(path, value, owner)


def _arguments(target: Any, value: dict) -> Arguments:
    """What a class takes; mmcv's random resizing steps hand all else to ``Resize``."""
    arguments = accepted_arguments(target)
    if target not in (RandomResize, RandomChoiceResize):
        return arguments
    resize = accepted_arguments(find_type(value.get('resize_type', 'Resize'), (mm.TRANSFORMS, )) or target)
    return resize._replace(known={**resize.known, **arguments.known}, modules={**resize.modules, **arguments.modules})


def _check_keys(path: str, value: dict, arguments: Arguments, builds: str, readers: Iterable = ()) -> Iterator[str]:
    """Unknown keys, and values of the wrong kind, of a dict that becomes keyword arguments.

    Keys that the code of ``readers`` mentions are left to it; a class that takes any name gets the near misses.
    """
    for key, item in value.items():
        parameter = arguments.known.get(key)
        if key in RESERVED or (key in arguments.known and parameter is None):
            continue
        if parameter is not None:
            own = arguments.modules.get(key, '').startswith('mmwhitebox.')
            wanted = wrong_kind(parameter, item, strict=own)
            if wanted:
                yield f'{path}.{key}: {builds} takes {wanted} here, got {item!r}'
            continue
        near = nearest(key, {*arguments.known, *RESERVED}, VERY_CLOSE if arguments.open_ended else CLOSE)
        if (near or not arguments.open_ended) and not any(mentions(reader, key) for reader in readers):
            some = sorted(name for name, known in arguments.known.items() if known is not None)
            ours = find_type(f'mmwhitebox.{builds}', (mm.MODELS, ))
            yield f'{path}.{key}: unknown key; ' + (
                f'did you mean {near!r}?' if near else f"type='mmwhitebox.{builds}' takes it"
                if ours and key in accepted_arguments(ours).known else f'{builds} takes {joined(some, MAX_NAMED)}')


def _unknown_type(path: str, name: str, registries: Registries) -> str:
    scope, dot, bare = name.rpartition('.')
    names = sorted({known for registry in registries for child in (registry, *registry.children.values())
                    if not scope or scope == child.scope for known in child.module_dict})
    near = nearest(bare, names, CLOSE)
    if near and find_type(scope + dot + near, registries) is None:  # it is known in another scope
        dot, scope = '.', next(child.scope for registry in registries for child in registry.children.values()
                               if near in child.module_dict)
    if near:
        return f'{path}.type: unknown type {name!r}; did you mean {scope + dot + near!r}?'
    return f'{path}.type: unknown type {name!r}.' + (
        f' Known types: {", ".join(names)}' if 0 < len(names) <= MAX_NAMED else '')


def nearest(name: str, known: Iterable[str], cutoff: float) -> str | None:
    """The known name most like the given one, if any is like it at all."""
    return next(iter(difflib.get_close_matches(str(name), [str(k) for k in known], n=1, cutoff=cutoff)), None)


def _parts(cfg: Config, without: str) -> Iterator[Any]:
    """All dicts and lists of a config outside one of its keys."""
    waiting = [value for key, value in cfg.items() if key != without]
    while waiting:
        value = waiting.pop()
        if isinstance(value, (dict, list, tuple)):
            yield value
            waiting.extend(value.values() if isinstance(value, dict) else value)
