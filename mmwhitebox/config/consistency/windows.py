"""The sliding window of a segmentor, ``model.test_cfg``."""
from collections.abc import Iterator
from typing import Any

from mmengine.config import Config
from mmseg.models.segmentors import EncoderDecoder as MMSegEncoderDecoder
from mmseg.models.segmentors import MultimodalEncoderDecoder

from mmwhitebox.config_parts import model_part
from mmwhitebox.errors import ConfigError
from mmwhitebox.models.segmentors.encoder_decoder import EncoderDecoder, check_test_cfg

WHOLE = "dict(mode='whole')"


def window_problems(cfg: Config) -> Iterator[str]:
    """Modes and windows that fail at the first image, or leave pixels that no window saw."""
    model = model_part(cfg)
    if model is None or model.cls is None:
        return
    cls = model.cls
    ours = issubclass(cls, EncoderDecoder) and cls.window_grid is EncoderDecoder.window_grid
    theirs = any(issubclass(cls, base) and cls.predict is base.predict and cls.inference is base.inference
                 for base in (MMSegEncoderDecoder, MultimodalEncoderDecoder))
    if not ours and not theirs:
        return
    path, test_cfg = f'{model.path}.test_cfg', model.cfg.get('test_cfg')
    if test_cfg is not None and not isinstance(test_cfg, dict):
        yield f'{path}={test_cfg!r} must be a dict: {WHOLE}.'
        return
    if ours:
        try:
            check_test_cfg(test_cfg or {}, path)
        except ConfigError as error:
            yield str(error)
        return
    if not test_cfg or 'mode' not in test_cfg:
        yield (f"{path} has no mode, which {model.name} needs: {WHOLE}, or mode='slide' with crop_size and stride.")
        return
    mode = test_cfg['mode']
    if mode not in ('whole', 'slide'):
        yield f"{path}.mode={mode!r} must be 'whole' or 'slide'."
    elif mode == 'slide':
        yield from _window(path, test_cfg)


def _window(path: str, test_cfg: dict) -> Iterator[str]:
    sizes = {}
    for key in ('crop_size', 'stride'):
        if test_cfg.get(key) is None:
            yield f"{path} has mode='slide' without {key}: add {key}=(HEIGHT, WIDTH), or take mode='whole'."
            continue
        value = test_cfg[key]
        if isinstance(value, (list, tuple)) and len(value) == 2 and all(is_positive(size) for size in value):
            sizes[key] = value
        else:
            example = (value, value) if is_positive(value) else '(HEIGHT, WIDTH)'
            yield f'{path}.{key}={value!r} must be a pair of positive integers: {key}={example}.'
    if len(sizes) == 2:
        for axis, crop, stride in zip(('high', 'wide'), sizes['crop_size'], sizes['stride']):
            if stride > crop:
                yield (f'{path}.stride={tuple(sizes["stride"])} leaves pixels between two windows without a '
                       f'prediction, {path}.crop_size is {crop} pixels {axis}: make it {crop} or less.')


def is_positive(value: Any) -> bool:
    """Whether a value is an integer above 0."""
    return isinstance(value, int) and not isinstance(value, bool) and value > 0
