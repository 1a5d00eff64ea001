"""Names of the encoders in timm: ``cbt_small`` is the arch cbt-small."""
import inspect
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from timm.data import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from timm.models import build_model_with_cfg, generate_default_cfgs, register_model, resolve_pretrained_cfg
from torch import nn

from mmwhitebox.errors import CheckpointError, ConfigError, MissingCheckpointError
from mmwhitebox.models.backbones import WhiteBoxTransformer

from .folders import arguments_of, same_kind
from .model import WhiteBoxModel, note
from .weights import fitted

# timm has the ViTs itself, under names that begin so.
ARCHS = {arch.replace('-', '_'): arch for arch in WhiteBoxTransformer.arch_zoo if not arch.startswith('vit-')}
NAMES = tuple(ARCHS)
FIRST_CONV = dict(ConvStem='backbone.stem.stages.0.0', PatchConv='backbone.stem.proj')  # a LinearStem has none
# Of the test pipelines in the configs of classifiers.
WHOLE_SIDE = dict(crop_pct=1., interpolation='bicubic')
MIDDLE = dict(crop_pct=0.875, interpolation='bilinear')


def default_cfg(arch: str) -> dict[str, Any]:
    """What timm knows of a model without weights."""
    settings = WhiteBoxTransformer.arch_zoo[arch]
    return dict(
        input_size=(3, 224, 224), num_classes=1000, mean=IMAGENET_DEFAULT_MEAN, std=IMAGENET_DEFAULT_STD,
        first_conv=FIRST_CONV.get(settings['stem']['type']), classifier='head.fc',
        **(WHOLE_SIDE if settings['num_class_layers'] else MIDDLE))


default_cfgs = generate_default_cfgs({name: default_cfg(arch) for name, arch in ARCHS.items()})


def create(name: str, pretrained: bool | str | Path = False, **kwargs) -> nn.Module:
    """Build a model for :func:`timm.create_model`.

    Args:
        name (str): One of :data:`NAMES`.
        pretrained (bool | str | Path): A folder of :func:`mmwhitebox.apis.save_pretrained`, with a classifier, a
            segmentor or a bare encoder of this arch: its weights, its arguments as defaults, and what it says of the
            images as ``pretrained_cfg``. True: the weights that ``pretrained_cfg`` or ``pretrained_cfg_overlay``
            name, as in timm. Defaults to False.
        **kwargs: Arguments of :class:`.WhiteBoxModel`, and timm's own: ``features_only``, ``out_indices``, ...

    Raises:
        ConfigError: An unknown argument, or another arch.
        CheckpointError: There are no weights, or they are of another model.
    """
    unknown = sorted(set(kwargs) - set(OF_MODEL) - set(OF_TIMM))
    if unknown:
        raise ConfigError(f'{name}: unknown argument {", ".join(unknown)}; the arguments of the model are '
                          f'{", ".join(OF_MODEL)}.')
    if not same_kind(kwargs.get('arch', ARCHS[name]), ARCHS[name]):
        raise ConfigError(f'{name}: arch must be {ARCHS[name]!r}, or a dict that differs from it in its sizes only.')
    own: dict[str, Any] = {}
    if isinstance(pretrained, (str, Path)):
        own, told = arguments_of(name, ARCHS[name], pretrained)
        told |= kwargs.pop('pretrained_cfg_overlay', None) or {}
        kwargs = {**own, **kwargs, 'pretrained_cfg_overlay': told}
    elif pretrained:
        cfg = resolve_pretrained_cfg(name, kwargs.get('pretrained_cfg'), kwargs.get('pretrained_cfg_overlay'))
        if not cfg.has_weights and not cfg.state_dict:
            raise CheckpointError(f'{name}: no weights are hosted. Give a folder of save_pretrained, '
                                  'pretrained=FOLDER, or a file, pretrained_cfg_overlay=dict(file=FILE); '
                                  'pretrained=False begins anew.')
        if cfg.file and cfg.source != 'local-dir' and not Path(cfg.file).is_file():
            raise MissingCheckpointError(f'{name}: {cfg.file}, the file of pretrained_cfg, is not there.')
    model = build_model_with_cfg(
        WhiteBoxModel, name, bool(pretrained), pretrained_filter_fn=fitted,
        feature_cfg=dict(out_indices=3, feature_cls='getter'), **{'arch': ARCHS[name], **kwargs})
    if own:
        note(model, **own)
    return model


OF_MODEL = tuple(inspect.signature(WhiteBoxModel).parameters)
OF_TIMM = ('features_only', 'out_indices', 'feature_cls', 'pretrained_cfg', 'pretrained_cfg_overlay', 'cache_dir',
           'pretrained_model_args', 'pretrained_strict')


def entrypoint(name: str) -> Callable[..., nn.Module]:
    """The function that timm calls for a name."""
    function = partial(create, name)
    function.__name__, function.__module__ = name, __name__
    function.__doc__ = f'The encoder {ARCHS[name]} with a classifier, see :func:`create`.'
    return function


for _name in NAMES:
    setattr(sys.modules[__name__], _name, register_model(entrypoint(_name)))
