"""The configs of the repository, and how a test makes one of them small."""
import copy
import functools
from pathlib import Path

from mmengine.config import Config

from mmwhitebox.apis import config_path
from mmwhitebox.models.backbones import WhiteBoxTransformer

ROOT = Path(__file__).parents[1]
CONFIGS = sorted(p.relative_to(ROOT / 'configs').as_posix() for p in (ROOT / 'configs').rglob('*.py')
                 if '_base_' not in p.parts)
SIZE = 64


@functools.cache
def _read(path: str) -> Config:
    return Config.fromfile(path)


def config(name: str) -> Config:
    """A config of the repository, by its name or its file below ``configs``: a copy of what is read once."""
    return copy.deepcopy(_read(config_path(name.removesuffix('.py'))))


def reduced_arch(arch) -> dict:
    """An arch (a name or a dict) with one layer, two if its layers differ, and one class-attention layer."""
    arch = dict(WhiteBoxTransformer.arch_zoo[arch] if isinstance(arch, str) else arch)
    if not isinstance(arch['attention'], dict):
        arch['attention'] = [arch['attention'][0], arch['attention'][-1]]
    arch['num_layers'] = 1 if isinstance(arch['attention'], dict) else 2
    arch['num_class_layers'] = min(arch.get('num_class_layers', 0), 1)
    return arch


def reduced(name: str) -> Config:
    """A config with one or two layers and small images; widths, heads and classes are its own."""
    cfg = config(name)
    backbone, head = cfg.model.backbone, cfg.model.get('decode_head')
    if backbone.type == 'mmwhitebox.TimmViT':
        backbone.pretrained = False
        if 'init_cfg' in cfg.model.get('head', {}):
            cfg.model.head.init_cfg = None  # no pretrained classifier either
        backbone.model_kwargs = {**backbone.get('model_kwargs', {}), 'depth': 1}
    else:
        backbone.arch = reduced_arch(backbone.arch)
        backbone.drop_path_rate = 0.
    backbone.img_size = SIZE
    if cfg.optim_wrapper.type == 'AmpOptimWrapper':  # needs a GPU
        cfg.optim_wrapper = dict(type='OptimWrapper', **{
            key: value for key, value in cfg.optim_wrapper.items() if key in ('optimizer', 'paramwise_cfg')})
    if head is not None and 'num_layers' in head:
        head.num_layers = 1
    if head is not None and 'class_attention' in head:
        head.num_class_layers = 1
    return cfg
