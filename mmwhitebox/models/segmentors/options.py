"""The options of a prediction, ``model.test_cfg``, checked as a whole before anything runs."""
from mmengine.utils import to_2tuple

from mmwhitebox.errors import ConfigError

from .alignment import Size

KEEP_LOGITS = (False, 'factors', True)
MODES = ('whole', 'slide')


def check_test_cfg(cfg: dict, where: str = 'model.test_cfg') -> None:
    """Refuse options with which a prediction would be wrong or fail.

    Args:
        cfg (dict): The segmentor's ``test_cfg``.
        where (str): Its place in the config, for the message.

    Raises:
        ConfigError: One line that names the key and the remedy.
    """
    for key, known in (('mode', MODES), ('keep_logits', KEEP_LOGITS), ('enlarge', (False, True))):
        if key in cfg and (type(cfg[key]), cfg[key]) not in [(type(value), value) for value in known]:
            raise ConfigError(f'{where}.{key}={cfg[key]!r}: it is one of {known}.')
    mode, enlarge = cfg.get('mode', 'whole'), cfg.get('enlarge', False)
    sizes = {}
    for key, needed in (('crop_size', mode == 'slide' or enlarge), ('stride', mode == 'slide')):
        if needed and cfg.get(key) is None:
            reason = f'mode={mode!r}' if mode == 'slide' else 'enlarge=True'
            raise ConfigError(f'{where} needs {key} for {reason}, for example {key}=(512, 512).')
        if needed:
            sizes[key] = window_size(cfg, key, where)
    if mode == 'slide' and any(step > crop for step, crop in zip(sizes['stride'], sizes['crop_size'])):
        raise ConfigError(f'{where}.stride={sizes["stride"]} exceeds crop_size={sizes["crop_size"]}: no window would '
                          'see the pixels between two of them. Set stride to at most crop_size.')
    for key in ('batch_windows', 'tile_size'):
        if cfg.get(key) is not None and not (isinstance(cfg[key], int) and cfg[key] > 0):
            raise ConfigError(f'{where}.{key}={cfg[key]!r}: it is a positive integer.')
    if cfg.get('val'):
        check_test_cfg({**cfg, **cfg['val'], 'val': None}, f'{where} with its val')


def window_size(cfg: dict, key: str, where: str = 'model.test_cfg') -> Size:
    """``crop_size`` or ``stride`` as (height, width); one integer stands for both."""
    size = to_2tuple(cfg[key])
    valid = isinstance(size, (tuple, list)) and len(size) == 2
    if not valid or not all(isinstance(length, int) and length > 0 for length in size):
        raise ConfigError(f'{where}.{key}={cfg[key]!r}: it is a height and a width in pixels, positive integers.')
    return tuple(size)
