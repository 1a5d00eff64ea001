"""The configs of the repository, and how a test makes one of them small."""
from pathlib import Path

from mmengine.config import Config

ROOT = Path(__file__).parents[1]
CONFIGS = sorted(p.relative_to(ROOT / 'configs').as_posix() for p in (ROOT / 'configs').rglob('*.py')
                 if '_base_' not in p.parts)
SIZE = 64


def reduced(name: str) -> Config:
    """A config with one or two layers and small images; widths, heads and classes are its own."""
    cfg = Config.fromfile(ROOT / 'configs' / name)
    backbone, head = cfg.model.backbone, cfg.model.get('decode_head')
    if backbone.type == 'mmwhitebox.TimmViT':
        backbone.pretrained = False
        backbone.img_size = SIZE
        backbone.model_kwargs = {**backbone.get('model_kwargs', {}), 'depth': 1}
    if head is not None and 'num_layers' in head:
        head.num_layers = 1
    if head is not None and 'class_attention' in head:
        head.num_class_layers = 1
    return cfg
