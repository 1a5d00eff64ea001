"""Checking a config before anything is built: unknown keys, unknown types, values of the wrong kind.

mmengine hands a config on as keyword arguments, so a misspelt key shows late, as a TypeError of some constructor, or
never, where a class takes any name. Here every dict that names a ``type`` is compared with what that class takes.
"""
import difflib
import inspect
import re
from typing import Any, Dict, Iterable, Iterator, List, NamedTuple, Optional, Set, Tuple

import mmengine.registry as mm
from mmcv.transforms import RandomChoiceResize, RandomResize
from mmengine.config import Config
from mmengine.registry import DefaultScope, Registry
from mmengine.runner import Runner
from mmpretrain.registry import BATCH_AUGMENTS
from torch.utils.data import DataLoader

from mmwhitebox.errors import ConfigError
from mmwhitebox.registry import ATTENTIONS, EMBEDDINGS, FEEDFORWARDS

from .signatures import Arguments, accepted_arguments, kind_of, wrong_kind

RESERVED = {'type', '_scope_', '_delete_'}
CLOSE, VERY_CLOSE = 0.7, 0.85
MAX_NAMED = 12

# What may stand under a key: the registries that its type is looked up in, the first that has it.
MODEL_PARTS = (mm.MODELS, mm.TASK_UTILS)
REGISTRIES: Dict[str, Tuple[Registry, ...]] = dict(
    model=MODEL_PARTS, tta_model=MODEL_PARTS, data_preprocessor=MODEL_PARTS, model_wrapper_cfg=(mm.MODEL_WRAPPERS, ),
    attention=(ATTENTIONS, mm.MODELS), class_attention=(ATTENTIONS, mm.MODELS), feedforward=(FEEDFORWARDS, mm.MODELS),
    stem=(EMBEDDINGS, mm.MODELS), position=(EMBEDDINGS, mm.MODELS), init_cfg=(mm.WEIGHT_INITIALIZERS, ),
    augments=(BATCH_AUGMENTS, ), dataset=(mm.DATASETS, ), datasets=(mm.DATASETS, ),
    sampler=(mm.DATA_SAMPLERS, mm.TASK_UTILS), batch_sampler=(mm.DATA_SAMPLERS, ), collate_fn=(mm.FUNCTIONS, ),
    worker_init_fn=(mm.FUNCTIONS, ), pipeline=(mm.TRANSFORMS, ), transforms=(mm.TRANSFORMS, ),
    tta_pipeline=(mm.TRANSFORMS, ), policies=(mm.TRANSFORMS, ), optim_wrapper=(mm.OPTIM_WRAPPERS, ),
    optimizer=(mm.OPTIMIZERS, ), param_scheduler=(mm.PARAM_SCHEDULERS, ), train_cfg=(mm.LOOPS, ),
    val_cfg=(mm.LOOPS, ), test_cfg=(mm.LOOPS, ), val_evaluator=(mm.METRICS, mm.EVALUATOR),
    test_evaluator=(mm.METRICS, mm.EVALUATOR), default_hooks=(mm.HOOKS, ), custom_hooks=(mm.HOOKS, ),
    visualizer=(mm.VISUALIZERS, ), vis_backends=(mm.VISBACKENDS, ), log_processor=(mm.LOG_PROCESSORS, ))
NEEDS_DICT = re.compile(r'model(\.backbone)?|optim_wrapper(\.optimizer)?|\w+_dataloader\.dataset')  # paths
NEEDS_TYPE = {'model', 'backbone', 'decode_head', 'head', 'dataset', 'sampler', 'optimizer', 'attention', 'feedforward'}
DEFAULT_TYPES = dict(optim_wrapper='OptimWrapper', val_cfg='ValLoop', test_cfg='TestLoop',
                     log_processor='LogProcessor')

# Keys that mmengine takes out before it calls the class.
EXTRA = {
    mm.PARAM_SCHEDULERS: {'convert_to_iter_based', 'epoch_length'},
    mm.OPTIM_WRAPPERS: {'optimizer', 'paramwise_cfg', 'constructor'},
    mm.HOOKS: {'priority'},
    mm.WEIGHT_INITIALIZERS: {'layer', 'override'},
    mm.LOOPS: {'by_epoch'},
}
EXTRA_OF_KEY = dict(norm_cfg={'requires_grad'}, act_cfg={'inplace'})
LOADER_EXTRA = {'dataset', 'collate_fn', 'worker_init_fn', 'num_batch_per_epoch', 'disable_subprocess_warning'}
TOP_EXTRA = {'default_scope', 'custom_imports', 'runner_type', 'tta_model', 'tta_pipeline', 'find_unused_parameters',
             'train_pipeline', 'val_pipeline', 'test_pipeline'}
DECAY = {'lr_mult', 'decay_mult'}

# Dicts without a type: what they usually hold. Others may add keys, so only near misses are reported.
USUAL_KEYS: Dict[str, Set[str]] = dict(
    paramwise_cfg={'custom_keys', 'bias_lr_mult', 'bias_decay_mult', 'norm_decay_mult', 'flat_decay_mult',
                   'dwconv_decay_mult', 'dcn_offset_lr_mult', 'bypass_duplicate'},
    clip_grad={'max_norm', 'norm_type', 'error_if_nonfinite', 'clip_value'},
    env_cfg={'cudnn_benchmark', 'mp_cfg', 'dist_cfg', 'resource_limit'},
    mp_cfg={'mp_start_method', 'opencv_num_threads'},
    dist_cfg={'backend', 'timeout', 'init_backend'},
    auto_scale_lr={'enable', 'base_batch_size'},
    randomness={'seed', 'diff_rank_seed', 'deterministic'},
    default_hooks={'runtime_info', 'timer', 'sampler_seed', 'logger', 'param_scheduler', 'checkpoint',
                   'visualization'},
    data_prefix={'img_path', 'seg_map_path'},
    metainfo={'classes', 'palette'},
    test_cfg={'mode', 'crop_size', 'stride', 'batch_windows', 'tile_size', 'keep_logits', 'size',
              'size_divisor'},
    train_cfg={'augments', 'by_epoch', 'max_epochs', 'max_iters', 'val_interval', 'val_begin'},
    arch={'embed_dims', 'num_layers', 'num_heads', 'attention', 'feedforward', 'stem', 'position', 'norm_cfg',
          'layer_scale_init_value', 'num_class_layers', 'init_std', 'init_cfg'})


class Node(NamedTuple):
    """A dict of the config: where it stands and where its types are looked up."""
    path: str
    key: str
    value: dict
    registries: Tuple[Registry, ...]


def check_config(cfg: Config) -> None:
    """Compare every dict of a config with what it configures; nothing is built.

    Top-level names that no Runner knows are the config's own variables, and reported only when they are near misses
    of a name that it knows.

    Args:
        cfg (Config): Full config.

    Raises:
        ConfigError: Unknown keys (the nearest known one is proposed), unknown types, or values that are no
            number, text, dict or list where one is needed. All are named with their paths.
    """
    problems: List[str] = []
    with mm.MODELS.switch_scope_and_registry(cfg.get('default_scope', 'mmseg')):  # imports that scope
        problems.extend(_check_top_level(cfg))
        for key, value in cfg.items():
            if key.endswith('_dataloader'):
                problems.extend(_check_loader(key, value))
            elif key == 'randomness' and kind_of(value) == 'dict':
                problems.extend(_check_known(key, value, accepted_arguments(Runner.set_randomness).known, 'Runner'))
            elif key in REGISTRIES or key in USUAL_KEYS:
                problems.extend(_check_slot(Node(key, key, value, REGISTRIES.get(key, ()))))
    if problems:
        problems = list(dict.fromkeys(problems))
        name = f'The config {cfg.filename}' if getattr(cfg, 'filename', None) else 'The config'
        raise ConfigError(f'{name} cannot be used:\n  ' + '\n  '.join(problems))


def _check_top_level(cfg: Config) -> Iterator[str]:
    known = set(inspect.signature(Runner).parameters) | TOP_EXTRA
    for key in cfg:
        if key in known or any(key.startswith(f'{k}_') or key.endswith(f'_{k}') for k in known):
            continue
        near = nearest(key, known, VERY_CLOSE)
        if near:
            yield f'{key}: unknown key; did you mean {near!r}?'


def _check_loader(path: str, value: Any) -> Iterator[str]:
    if value is None:
        return
    if kind_of(value) != 'dict':
        yield f'{path}: must be a dict, got {value!r}'
        return
    known = accepted_arguments(DataLoader).known
    yield from _check_known(path, value, {**known, **dict.fromkeys(LOADER_EXTRA)}, 'a data loader')
    for key in ('dataset', 'sampler', 'batch_sampler', 'collate_fn', 'worker_init_fn'):
        if key in value:
            yield from _check_slot(Node(f'{path}.{key}', key, value[key], REGISTRIES[key]))


def _check_slot(node: Node) -> Iterator[str]:
    """Check what stands under a key: a dict, a list of dicts, or a plain value."""
    value = node.value
    named = isinstance(value, str) and node.key in ('attention', 'head')  # names that a class of ours resolves
    if isinstance(value, dict):
        yield from _check_dict(node)
    elif NEEDS_DICT.fullmatch(node.path):
        yield f'{node.path}: must be a dict with a type, got {value!r}'
    elif node.key == 'pipeline' and not isinstance(value, (list, tuple)):
        yield f'{node.path}: must be a list of steps, got {value!r}'
    elif isinstance(value, (list, tuple)):
        for i, item in enumerate(value):
            if node.key == 'pipeline' and not isinstance(item, dict) and not callable(item):
                yield f'{node.path}.{i}: must be a dict with a type, got {item!r}'
            elif isinstance(item, (dict, list, tuple)):
                yield from _check_slot(node._replace(path=f'{node.path}.{i}', value=item))
    elif node.key in NEEDS_TYPE and node.registries and value is not None and not named:
        yield f'{node.path}: must be a dict with a type, got {value!r}'


def _check_dict(node: Node) -> Iterator[str]:
    value = node.value
    name = value.get('type', _default_type(node))
    if isinstance(name, str) and '.' not in name and value.get('_scope_'):
        name = f'{value["_scope_"]}.{name}'
    if name is None:
        if node.registries and (node.key in NEEDS_TYPE or node.path.startswith('default_hooks.')):
            near = nearest('type', value, CLOSE)
            yield f'{node.path}: the key type is missing' + (f"; {near!r} stands there" if near else '')
        yield from _check_usual(node)
        registries = node.registries
    elif isinstance(name, str) or callable(name):
        target, registries = find_type(name, node.registries)
        if target is None:
            yield from _unknown_type(node, name)
        else:
            yield from _check_arguments(node, target, registries)
    else:
        yield f'{node.path}.type: must be the name of a class, got {name!r}'
        registries = node.registries
    for key, inner in value.items():
        if key not in RESERVED:
            yield from _check_slot(Node(f'{node.path}.{key}', key, inner, _registries_inside(node, key, registries)))


def _registries_inside(node: Node, key: str, own: Tuple[Registry, ...]) -> Tuple[Registry, ...]:
    if node.key in ('model', 'module') and key in ('train_cfg', 'test_cfg'):
        return ()  # of the model, not loops
    return REGISTRIES.get(key, own)


def _default_type(node: Node) -> Optional[str]:
    """The type that mmengine fills in at the top level."""
    if node.path == 'train_cfg':
        return 'EpochBasedTrainLoop' if node.value.get('by_epoch') else 'IterBasedTrainLoop'
    return DEFAULT_TYPES.get(node.path)


def _check_usual(node: Node) -> Iterator[str]:
    """Near misses in a dict that has no type."""
    usual = USUAL_KEYS.get(node.key)
    entries = [(node.path, node.value, usual)] if usual else []
    if node.key == 'custom_keys':
        entries = [(f'{node.path}.{key}', value, DECAY) for key, value in node.value.items()
                   if isinstance(value, dict)]
    for path, value, known in entries:
        for key in value:
            near = nearest(key, known, CLOSE) if key not in known else None
            if near:
                yield f'{path}.{key}: unknown key; did you mean {near!r}?'


def _check_arguments(node: Node, target: Any, registries: Tuple[Registry, ...]) -> Iterator[str]:
    arguments = _arguments(node, target)
    extra = set(EXTRA_OF_KEY.get(node.key, ())).union(*(EXTRA.get(registry, ()) for registry in registries))
    yield from _check_known(node.path, node.value, {**dict.fromkeys(extra), **arguments.known},
                            getattr(target, '__name__', str(target)), arguments.open_ended, arguments.modules)


def _arguments(node: Node, target: Any) -> Arguments:
    """What a class takes; mmcv's random resizing steps hand all else to ``Resize``."""
    arguments = accepted_arguments(target)
    if target in (RandomResize, RandomChoiceResize) and node.value.get('resize_type', 'Resize') == 'Resize':
        inner, _ = find_type('Resize', (mm.TRANSFORMS, ))
        resize = accepted_arguments(inner)
        return Arguments({**resize.known, **arguments.known}, resize.open_ended,
                         {**resize.modules, **arguments.modules})
    return arguments


def _check_known(path: str, value: dict, known: Dict[str, Optional[inspect.Parameter]], owner: str,
                 open_ended: bool = False, modules: Dict[str, str] = {}) -> Iterator[str]:
    """Unknown keys, and values of the wrong kind, of one dict."""
    for key, item in value.items():
        if key in RESERVED:
            continue
        if key in known:
            own = modules.get(key, '').startswith('mmwhitebox.')
            wanted = wrong_kind(known[key], item, strict=own) if known[key] is not None else None
            if wanted:
                yield f'{path}.{key}: {owner} takes {wanted} here, got {item!r}'
            continue
        near = nearest(key, {*known, 'type'}, VERY_CLOSE if open_ended else CLOSE)
        if near:
            yield f'{path}.{key}: unknown key; did you mean {near!r}?'
        elif not open_ended:
            some = sorted(name for name, parameter in known.items() if parameter is not None) or sorted(known)
            yield (f'{path}.{key}: unknown key; {owner} takes {", ".join(some[:MAX_NAMED])}'
                   f'{", ..." if len(some) > MAX_NAMED else ""}')


def _unknown_type(node: Node, name: str) -> Iterator[str]:
    names: Set[str] = set()
    for registry in node.registries:
        names |= _names_in(registry)
    scope, dot, bare = name.rpartition('.')
    near = nearest(bare, names, CLOSE)
    certain = node.key in REGISTRIES or node.key in NEEDS_TYPE or (
        node.path.startswith('model.') and 'kwargs' not in node.path)
    if near:
        yield f'{node.path}.type: unknown type {name!r}; did you mean {scope + dot + near!r}?'
    elif certain:
        known = f' Known types: {", ".join(sorted(names))}' if 0 < len(names) <= MAX_NAMED else ''
        yield f'{node.path}.type: unknown type {name!r}.{known}'


def find_type(name: Any, registries: Iterable[Registry]) -> Tuple[Optional[Any], Tuple[Registry, ...]]:
    """The class of a name, and the registry that holds it.

    The given registries are asked first, then all of mmengine's: what a class does with a nested dict is its own
    affair.

    Args:
        name (str | Callable): ``type`` of a config dict.
        registries (Iterable[Registry]): Where such a type is expected.
    """
    registries = tuple(registries)
    if not isinstance(name, str):
        return name, registries
    for registry in dict.fromkeys((*registries, *REGISTRIES_OF_PARTS)):
        try:
            found = _in_scope(registry).get(name)
        except Exception:  # mmengine tries to import the name as a module
            found = None
        if found is not None:
            return found, (registry, )
    return None, registries


def _in_scope(registry: Registry) -> Registry:
    """The registry of the default scope below mmengine's, if there is one."""
    return registry.children.get(DefaultScope.get_current_instance().scope_name, registry)


def _names_in(registry: Registry) -> Set[str]:
    names = set(registry.module_dict)
    for child in registry.children.values():
        names |= set(child.module_dict)
    return names


def nearest(name: str, known: Iterable[str], cutoff: float) -> Optional[str]:
    """The known name most like the given one, if any is like it at all."""
    return next(iter(difflib.get_close_matches(str(name), [str(k) for k in known], n=1, cutoff=cutoff)), None)


REGISTRIES_OF_PARTS = (mm.MODELS, mm.TRANSFORMS, mm.DATASETS, mm.HOOKS, mm.METRICS, mm.TASK_UTILS, ATTENTIONS,
                       FEEDFORWARDS, EMBEDDINGS, BATCH_AUGMENTS, mm.WEIGHT_INITIALIZERS, mm.FUNCTIONS)
