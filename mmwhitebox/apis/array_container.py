r"""Arrays and a JSON header in one block of bytes, the arrays quantised on demand.

    MMWB | uint32 version | uint32 L | header, L bytes of JSON | arrays, each at a multiple of 8 bytes
    value = zero_g + scale_g q,      scale_g = (max_g - min_g) / (2^bits - 1),      |error| <= scale_g / 2

Little endian. ``header['arrays'][name]`` says of every array: ``dtype`` ('u1', 'u2', 'f4', 'i4'), ``shape``, ``offset``
from the end of the header, and of a quantised one ``scale``, ``zero`` and the number of ``groups`` that have one of
each: the product of some leading axes.
"""
import json
import math
import struct
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from torch import Tensor

from mmwhitebox.errors import UserError

MAGIC = b'MMWB'
VERSION = 1
START = struct.Struct('<4sII')
ALIGNMENT = 8
TYPES = {'u1': np.uint8, 'u2': np.uint16, 'f4': np.float32, 'i4': np.int32}


class Quantized(NamedTuple):
    """An array as integers.

    Attributes:
        codes (np.ndarray): q, uint8 or uint16, in the shape of the array.
        scale (np.ndarray): (G,) float64.
        zero (np.ndarray): (G,) float64.
    """

    codes: np.ndarray
    scale: np.ndarray
    zero: np.ndarray

    def values(self) -> np.ndarray:
        """zero + scale q, float32 in the shape of the array."""
        flat = self.codes.reshape(len(self.scale), self.codes.size // max(len(self.scale), 1))
        return (self.zero[:, None] + self.scale[:, None] * flat).astype(np.float32).reshape(self.codes.shape)


class ArrayBook:
    """Arrays that are collected one by one under names, and how finely each may be quantised.

    Attributes:
        arrays (dict[str, np.ndarray]): float32, uint8 or int32.
        group_axes (dict[str, int]): Leading axes of an array, every element of which has a scale of its own.
    """

    def __init__(self) -> None:
        self.arrays: dict[str, np.ndarray] = {}
        self.group_axes: dict[str, int] = {}

    def add(self, name: str, array: Tensor | np.ndarray, group_axes: int = 0) -> str:
        """Keep an array, a tensor as float32; returns its name."""
        self.arrays[name] = array.detach().float().cpu().numpy() if isinstance(array, Tensor) else array
        self.group_axes[name] = group_axes
        return name


def quantize(values: np.ndarray, bits: int, group_axes: int = 0) -> Quantized:
    """Floats as integers between the extremes of their group.

    Args:
        values (np.ndarray): Any shape, finite.
        bits (int): 8 or 16.
        group_axes (int): Leading axes of which every element is a group of its own. Defaults to 0: one group.
    """
    groups = math.prod(values.shape[:group_axes])
    flat = values.reshape(groups, math.prod(values.shape[group_axes:])).astype(np.float64)
    low, high = (flat.min(1), flat.max(1)) if flat.size else (np.zeros(groups), np.zeros(groups))
    top = 2**bits - 1
    scale = np.array([float(f'{step:.9g}') for step in (high - low) / top * (1 + 1e-8)])  # short in JSON, wide enough
    codes = np.rint((flat - low[:, None]) / np.where(scale > 0, scale, 1)[:, None]).clip(0, top)
    return Quantized(codes.astype(np.uint8 if bits == 8 else np.uint16).reshape(values.shape), scale, low)


def pack(header: Mapping, arrays: Mapping[str, np.ndarray | Quantized]) -> bytes:
    """The block of bytes.

    Args:
        header (Mapping): What JSON can say; ``arrays`` is added.
        arrays (Mapping[str, np.ndarray | Quantized]): Of the types uint8, uint16, float32 and int32.
    """
    described, parts, offset = {}, [], 0
    for name, array in arrays.items():
        stored = array.codes if isinstance(array, Quantized) else array
        kind = next(key for key, dtype in TYPES.items() if stored.dtype == dtype)
        described[name] = dict(dtype=kind, shape=list(stored.shape), offset=offset)
        if isinstance(array, Quantized):
            described[name].update(scale=array.scale.tolist(), zero=array.zero.tolist(), groups=len(array.scale))
        data = np.ascontiguousarray(stored, stored.dtype.newbyteorder('<')).tobytes()
        parts += [data, bytes(-len(data) % ALIGNMENT)]
        offset += len(data) + len(parts[-1])
    text = json.dumps({**header, 'arrays': described}, ensure_ascii=False, allow_nan=False,
                      separators=(',', ':')).encode()
    text += b' ' * (-(START.size + len(text)) % ALIGNMENT)
    return b''.join([START.pack(MAGIC, VERSION, len(text)), text, *parts])


def unpack(data: bytes) -> tuple[dict, dict[str, np.ndarray]]:
    """Header and arrays of a block of bytes; quantised arrays as float32.

    Raises:
        UserError: It is none, of another version, or cut short.
    """
    if len(data) < START.size or data[:4] != MAGIC:
        raise UserError('These bytes are no container of arrays: they do not begin with MMWB.')
    _, version, length = START.unpack_from(data)
    if version != VERSION:
        raise UserError(f'This container of arrays has version {version}, and {VERSION} is read here.')
    start = START.size + length
    try:
        header = json.loads(data[START.size:start])
        arrays = {name: _read(data, start, entry) for name, entry in header['arrays'].items()}
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f'This container of arrays is damaged or cut short ({error}).') from error
    return header, arrays


def _read(data: bytes, start: int, entry: dict) -> np.ndarray:
    dtype = np.dtype(TYPES[entry['dtype']]).newbyteorder('<')
    stored = np.frombuffer(data, dtype, math.prod(entry['shape']), start + entry['offset']).reshape(entry['shape'])
    stored = stored.astype(dtype.newbyteorder('='))
    if 'scale' not in entry:
        return stored
    return Quantized(stored, np.array(entry['scale'], float), np.array(entry['zero'], float)).values()
