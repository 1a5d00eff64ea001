"""The registries of mmwhitebox: children of mmengine's, under the scope ``mmwhitebox``.

Every node names the packages (``locations``) that fill it, so ``type='mmwhitebox.X'`` resolves in a
fresh process, from any directory, without ``custom_imports``. Nothing heavy is imported here.
"""
import inspect
from typing import Any

from mmengine.registry import DATASETS as MMENGINE_DATASETS
from mmengine.registry import HOOKS as MMENGINE_HOOKS
from mmengine.registry import INFERENCERS as MMENGINE_INFERENCERS
from mmengine.registry import LOOPS as MMENGINE_LOOPS
from mmengine.registry import METRICS as MMENGINE_METRICS
from mmengine.registry import MODELS as MMENGINE_MODELS
from mmengine.registry import OPTIM_WRAPPER_CONSTRUCTORS as MMENGINE_OPTIM_WRAPPER_CONSTRUCTORS
from mmengine.registry import OPTIM_WRAPPERS as MMENGINE_OPTIM_WRAPPERS
from mmengine.registry import OPTIMIZERS as MMENGINE_OPTIMIZERS
from mmengine.registry import PARAM_SCHEDULERS as MMENGINE_PARAM_SCHEDULERS
from mmengine.registry import TRANSFORMS as MMENGINE_TRANSFORMS
from mmengine.registry import VISBACKENDS as MMENGINE_VISBACKENDS
from mmengine.registry import VISUALIZERS as MMENGINE_VISUALIZERS
from mmengine.registry import WEIGHT_INITIALIZERS as MMENGINE_WEIGHT_INITIALIZERS
from mmengine.registry import Registry

MODELS = Registry('model', parent=MMENGINE_MODELS, locations=['mmwhitebox.models'])
DATASETS = Registry('dataset', parent=MMENGINE_DATASETS, locations=['mmwhitebox.datasets'])
TRANSFORMS = Registry('transform', parent=MMENGINE_TRANSFORMS, locations=['mmwhitebox.datasets'])
HOOKS = Registry('hook', parent=MMENGINE_HOOKS, locations=['mmwhitebox.engine'])
LOOPS = Registry('loop', parent=MMENGINE_LOOPS, locations=['mmwhitebox.engine'])
METRICS = Registry('metric', parent=MMENGINE_METRICS, locations=['mmwhitebox.engine'])
OPTIMIZERS = Registry('optimizer', parent=MMENGINE_OPTIMIZERS, locations=['mmwhitebox.engine'])
OPTIM_WRAPPERS = Registry('optim_wrapper', parent=MMENGINE_OPTIM_WRAPPERS, locations=['mmwhitebox.engine'])
PARAM_SCHEDULERS = Registry(
    'parameter scheduler', parent=MMENGINE_PARAM_SCHEDULERS, locations=['mmwhitebox.engine'])
WEIGHT_INITIALIZERS = Registry(
    'weight initializer', parent=MMENGINE_WEIGHT_INITIALIZERS, locations=['mmwhitebox.models'])
OPTIM_WRAPPER_CONSTRUCTORS = Registry(
    'optimizer wrapper constructor', parent=MMENGINE_OPTIM_WRAPPER_CONSTRUCTORS, locations=['mmwhitebox.engine'])
VISBACKENDS = Registry('vis_backend', parent=MMENGINE_VISBACKENDS, locations=['mmwhitebox.engine'])
VISUALIZERS = Registry('visualizer', parent=MMENGINE_VISUALIZERS, locations=['mmwhitebox.engine'])
INFERENCERS = Registry('inferencer', parent=MMENGINE_INFERENCERS, locations=['mmwhitebox.apis'])

# The parts of a model, chosen by name inside a backbone or a head: ``attention=dict(type='CBSA', ...)``.
# Roots of their own, so that the names do not depend on the default scope of the running config.
ATTENTIONS = Registry('attention', scope='mmwhitebox', locations=['mmwhitebox.models.attention'])
FEEDFORWARDS = Registry('feedforward', scope='mmwhitebox', locations=['mmwhitebox.models.feedforward'])
EMBEDDINGS = Registry('embedding', scope='mmwhitebox', locations=['mmwhitebox.models.embeddings'])


def build_component(registry: Registry, cfg: dict, **defaults) -> Any:
    """Build a part of a model from its config.

    Args:
        registry (Registry): One of the registries above.
        cfg (dict): ``type`` (a registered name, with or without the ``mmwhitebox.`` prefix, or a class)
            and the arguments of that class.
        **defaults: Arguments used unless ``cfg`` gives them, e.g. ``embed_dims``; those that the class
            does not have are left out.

    Raises:
        KeyError: If the name is not registered; the message lists the known ones.
        TypeError: If an argument in ``cfg`` is not one of the class; the message names the class.
    """
    args = dict(cfg)
    name = args.pop('type', None)
    registry.import_from_location()
    known = registry.module_dict
    cls = known.get(str(name).removeprefix('mmwhitebox.')) if not isinstance(name, type) else name
    if cls is None:
        raise KeyError(f'Unknown {registry.name} type {name!r}. Known types: {", ".join(sorted(known))}.')
    accepted = inspect.signature(cls).parameters
    defaults = {key: value for key, value in defaults.items() if key in accepted}
    try:
        return cls(**{**defaults, **args})
    except TypeError as error:
        raise TypeError(f'{cls.__name__}: {error}') from error
