"""What the folder of a pretrained model says, in the words of timm."""
from pathlib import Path
from typing import Any

from torch import nn

from mmwhitebox.apis import from_pretrained
from mmwhitebox.config.pretrained import WEIGHTS, read_info
from mmwhitebox.engine.silence import silent
from mmwhitebox.errors import CheckpointError
from mmwhitebox.models.backbones import WhiteBoxTransformer

SIZES = ('embed_dims', 'num_layers', 'num_heads', 'num_class_layers')
START = ('init_std', 'init_cfg', 'layer_scale_init_value')  # no matter for weights that are loaded
KEPT = ('img_size', 'patch_size', 'attention', 'feedforward', 'stem', 'position', 'norm_cfg', 'layer_scale_init_value',
        'final_norm', 'interpolate_mode')


def arguments_of(name: str, arch: str, folder: str | Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Arguments that build the encoder of a folder, and the ``pretrained_cfg_overlay`` that loads it.

    Args:
        name (str): The model's name in timm.
        arch (str): Its arch.
        folder (str | Path): Of :func:`mmwhitebox.apis.save_pretrained`.

    Raises:
        CheckpointError: As :func:`mmwhitebox.apis.from_pretrained`; it holds no encoder of this arch, or not all of
            its layers.
    """
    folder = Path(folder).expanduser()
    if not folder.is_dir():
        raise CheckpointError(f'{name}: pretrained={str(folder)!r} is no folder of save_pretrained.')
    info = read_info(folder)
    with silent():
        model = from_pretrained(folder, 'cpu')  # which checks the weights
    whole = info['task'] != 'features'
    encoder, cfg = (model.backbone, model.cfg.model.backbone) if whole else (model, model.cfg.model)
    if type(encoder) is not WhiteBoxTransformer:
        raise CheckpointError(f'{name}: {folder} holds a {type(encoder).__name__}, no encoder of this name.')
    kind = cfg.get('arch', 'cbt-small')
    if not same_kind(kind, arch):
        raise CheckpointError(f'{name}: {folder} holds the encoder {kind}, not {arch}.' if isinstance(kind, str) else
                              f'{name}: {folder} holds an encoder of an arch of its own, which is more than {arch} in '
                              'another size.')
    if len(encoder.layers) < encoder.num_layers:
        raise CheckpointError(f'{name}: {folder} holds the first {len(encoder.layers)} layers of {encoder.num_layers} '
                              'only, since no other is used there.')
    own = {key: cfg[key] for key in KEPT if key in cfg}
    own |= dict(arch=kind, in_chans=encoder.in_channels)
    pooled = 'avg' if pools_patches(encoder, model.cfg.model if whole else {}) else 'token'
    own |= dict(class_token=cfg.get('with_cls_token', True), global_pool=pooled)
    return own, overlay(folder, info, encoder, model)


def same_kind(kind: str | dict, arch: str) -> bool:
    """Whether an arch is a known one, if in another size."""
    if isinstance(kind, str):
        return kind == arch
    known = WhiteBoxTransformer.arch_zoo[arch]
    settings = {**WhiteBoxTransformer.arch_zoo['cbt-small'], **kind}
    return all(with_short_names(settings[key]) == with_short_names(known[key]) for key in known
               if key not in (*SIZES, *START))


def with_short_names(value: Any) -> Any:
    """A part of an arch, its types without the scope, which they may have or not."""
    if not isinstance(value, dict):
        return value
    return {key: str(item).removeprefix('mmwhitebox.') if key == 'type' else with_short_names(item)
            for key, item in value.items()}


def pools_patches(encoder: WhiteBoxTransformer, model: dict) -> bool:
    """Whether a classifier takes the mean of the patches; without one, whether there is no class token."""
    return encoder.out_type == 'avg_featmap' or encoder.cls_token is None or \
        bool(encoder.out_type == 'featmap' and model.get('neck'))


def overlay(folder: Path, info: dict[str, Any], encoder: WhiteBoxTransformer, model: nn.Module) -> dict[str, Any]:
    """What differs from the default ``pretrained_cfg``; without a Linear classifier there are no classes."""
    size = info['model'].get('backbone', info['model']).get('img_size', 224)
    height, width = (size, size) if isinstance(size, int) else size
    linear = getattr(getattr(model, 'head', None), 'fc', None)
    classes = linear.out_features if isinstance(linear, nn.Linear) else 0
    found: dict[str, Any] = dict(
        file=str(folder / WEIGHTS), input_size=(encoder.in_channels, height, width), num_classes=classes)
    if classes:
        found['label_names'] = tuple(info['classes'])
    if info.get('mean'):  # in the order of channels that the network takes
        found |= {key: tuple(value / 255 for value in info[key]) for key in ('mean', 'std')}
    return found | prepared(info.get('test_pipeline') or [])


def prepared(steps: list[dict]) -> dict[str, Any]:
    """How a test pipeline resizes and crops: the short side, and the middle of it; what it does not say stays."""
    named = {step['type'].rpartition('.')[2]: step for step in steps}
    edge, crop = named.get('ResizeEdge'), named.get('CenterCrop')
    if edge is None or crop is None or edge.get('edge', 'short') != 'short' or not isinstance(crop['crop_size'], int):
        return {}
    return dict(crop_pct=crop['crop_size'] / edge['scale'], interpolation=edge.get('interpolation', 'bilinear'))
