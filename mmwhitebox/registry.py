"""The registries of mmwhitebox: children of mmengine's, under the scope ``mmwhitebox``.

Every node names the packages (``locations``) that fill it, so ``type='mmwhitebox.X'`` resolves in a
fresh process, from any directory, without ``custom_imports``. Nothing heavy is imported here.
"""
from mmengine.registry import DATASETS as MMENGINE_DATASETS
from mmengine.registry import HOOKS as MMENGINE_HOOKS
from mmengine.registry import INFERENCERS as MMENGINE_INFERENCERS
from mmengine.registry import MODELS as MMENGINE_MODELS
from mmengine.registry import TRANSFORMS as MMENGINE_TRANSFORMS
from mmengine.registry import VISUALIZERS as MMENGINE_VISUALIZERS
from mmengine.registry import Registry

MODELS = Registry('model', parent=MMENGINE_MODELS, locations=['mmwhitebox.models'])
DATASETS = Registry('dataset', parent=MMENGINE_DATASETS, locations=['mmwhitebox.datasets'])
TRANSFORMS = Registry('transform', parent=MMENGINE_TRANSFORMS, locations=['mmwhitebox.datasets'])
HOOKS = Registry('hook', parent=MMENGINE_HOOKS, locations=['mmwhitebox.engine'])
VISUALIZERS = Registry('visualizer', parent=MMENGINE_VISUALIZERS, locations=['mmwhitebox.engine'])
INFERENCERS = Registry('inferencer', parent=MMENGINE_INFERENCERS, locations=['mmwhitebox.apis'])

# Attention operators, chosen by name inside a backbone or a head: ``attention=dict(type='CBSA', ...)``.
# A root of its own, so that the names do not depend on the default scope of the running config.
ATTENTIONS = Registry('attention', scope='mmwhitebox', locations=['mmwhitebox.models.attention'])
