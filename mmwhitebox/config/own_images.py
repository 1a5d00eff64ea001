"""What a config says of images that ``mmwhitebox new`` has looked at: channels, range, mean and std, by rules that are
printed."""
import math
from collections.abc import Sequence
from typing import Any

from mmwhitebox.datasets.check_report import BIT_DEPTHS
from mmwhitebox.datasets.formats import Findings
from mmwhitebox.errors import UserError, joined


def of_images(found: Findings, rules: list[str], channels: int | None = None, channel_axis: str | None = None,
              span: Sequence[float] | None = None, replace_nan: float | None = None) -> dict[str, Any]:
    """What ``own_data`` says of the images.

    Args:
        found (Findings): A look at them.
        rules (list[str]): What was chosen, and why, is added to it.
        channels, channel_axis, span, replace_nan (optional): As ``own_data`` takes them (``span`` is its value_range),
            if they are stated.

    Raises:
        UserError: There are none, or they are of several kinds.
    """
    if not found.images:
        raise UserError('No image could be read.' + (f' {found.reasons[0]}' if found.reasons else ''))
    used = next((bits for bits in BIT_DEPTHS if found.largest < 1 << bits), None)
    stated = channels or span or replace_nan is not None
    if not stated and set(found.channels) <= {1, 3} and set(found.types) <= {'uint8', 'uint16'}:
        if 'uint16' in found.types:
            rules.append(f'8 of {used or 16} bits are kept; --channels {next(iter(found.channels))} keeps them all')
        return dict(bit_depth=used) if 'uint16' in found.types and used else {}
    return of_bands(found, rules, used, channels, channel_axis, span, replace_nan)


def of_bands(found: Findings, rules: list[str], used: int | None, stated: int | None, channel_axis: str | None,
             span: Sequence[float] | None, replace_nan: float | None) -> dict[str, Any]:
    """What ``own_data`` says of images of any channels and values, all of them kept."""
    channels = stated or max(found.channels, key=lambda number: (found.channels[number], number))
    kinds = {kind: paths for kind, paths in found.kinds.items() if kind[0] != channels
             and not (kind[0] == 1 and channels == 3)}
    if kinds:
        (number, _), paths = next(iter(kinds.items()))
        names = joined([path.name for path in paths], 3)
        raise UserError(f'{len(paths)} images have {number} channels ({names}), not {channels} as '
                        f'{"--channels says" if stated else "the others"}: save them alike, or take them out.')
    own: dict[str, Any] = dict(channels=channels)
    if channel_axis:
        own['channel_axis'] = channel_axis
    types = joined(list(found.types))
    rules.append(f'channels {channels}, {types}: all of their values are kept'
                 + (', colour steps for photographs are left out' if channels != 3 or set(found.types) != {'uint8'}
                    else ''))
    if found.not_finite and replace_nan is None:
        raise UserError(f'{len(found.not_finite)} images hold NaN or infinity '
                        f'({joined([path.name for path in found.not_finite], 3)}): mend them, or say what is read '
                        'instead, --replace-nan VALUE.')
    if replace_nan is not None:
        own['replace_nan'] = replace_nan
        rules.append(f'NaN and infinity are read as {replace_nan:g}')
    span = value_range(found, span, used, rules)
    if span:
        own['value_range'] = span
    low, high = span or (0, 255)
    factor = 255 / (high - low)
    mean, std = (list(values) * (channels if len(values) == 1 else 1) for values in (found.mean, found.std))
    own['mean'] = [float(f'{(value - low) * factor:.7g}') for value in mean]
    own['std'] = [float(f'{value * factor:.7g}') or 1. for value in std]
    rules.append(f'mean and std of each channel, over all pixels of {found.measured} training images'
                 + (', after value_range' if span else ''))
    still = [str(i) for i, value in enumerate(std, 1) if not float(f'{value * factor:.7g}')]
    if still:
        rules.append(f'channel {joined(still)} is the same everywhere: its std is set to 1')
    return own


def value_range(found: Findings, given: Sequence[float] | None, used: int | None,
                rules: list[str]) -> tuple[float, float] | None:
    """The values that become 0 and 255; None for bytes as they are."""
    if given:
        if not given[0] < given[1]:
            raise UserError(f'--value-range {given[0]:g} {given[1]:g}: the first must be below the second.')
        low, high = given
        return low, high
    types = list(found.types)
    if types == ['uint8']:
        return None
    if len({name.rstrip('0123456789') for name in types}) > 1 or len(types) > 1 and 'float' not in types[0]:
        few = {name: [path.name for kind, paths in found.kinds.items() if kind[1] == name for path in paths]
               for name in types}
        raise UserError('Images of several types, ' + '; '.join(
            f'{found.types[name]} {name} ({joined(paths, 3)})' for name, paths in few.items())
            + ': save them alike, or say which values become 0 and 255 in all of them, --value-range LOW HIGH.')
    if types == ['uint16']:
        high = (1 << (used or 16)) - 1
        rules.append(f'value_range 0 to {high}: no value is above {high}' if used else
                     f'value_range 0 to {high}: all that 16 bits hold')
        return 0, high
    if found.smallest == found.largest:
        raise UserError(f'All values of the images are {found.smallest:g}: there is nothing to learn from.')
    low, high = outward(found.smallest, -1), outward(found.largest, 1)
    if low >= 0 and high <= 1:
        low, high = 0., 1.
    rules.append(f'value_range {low:g} to {high:g}: the values lie from {found.smallest:g} to {found.largest:g}; '
                 '--value-range LOW HIGH for others')
    return low, high


def outward(value: float, sign: int) -> float:
    """A number of three digits, not below (sign 1) or not above (sign -1) a value."""
    if not value:
        return 0.
    step = 10.**(math.floor(math.log10(abs(value))) - 2)
    return float(f'{sign * math.ceil(sign * value / step) * step:.6g}')
