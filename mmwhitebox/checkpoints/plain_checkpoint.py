"""A checkpoint in the types that plain ``torch.load(path, weights_only=True)`` reads, and back.

mmengine keeps the history of every logged number as a HistoryBuffer, made of NumPy arrays, which torch refuses. Here it
is a dict of tensors; NumPy's numbers and arrays become Python's numbers and lists, mappings dicts.
"""
from collections import Counter, OrderedDict
from collections.abc import Mapping

import numpy as np
import torch
from mmengine.logging import HistoryBuffer

HISTORY = 'history_buffer'  # the key that tells such a dict from others


def plain(value: object) -> object:
    """A value in plain types, all the way down; what has no plain form stays as it is.

    An OrderedDict stays one, with its attributes: torch keeps the versions of modules in those of a state dict.
    """
    if isinstance(value, HistoryBuffer):
        logs, counts = value.data
        return {HISTORY: True, 'logs': torch.from_numpy(np.array(logs)), 'counts': torch.from_numpy(np.array(counts)),
                'max_length': value.max_length}
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return value.tolist()
    if type(value) is OrderedDict:
        for key in value:
            value[key] = plain(value[key])
        return value
    if isinstance(value, Mapping) and not isinstance(value, Counter):  # a scheduler counts its milestones in one
        return {key: plain(item) for key, item in value.items()}
    if type(value) in (list, tuple, set):
        return type(value)(map(plain, value))
    return value


def histories(scalars: Mapping) -> dict:
    """The log scalars of a message hub, as mmengine takes them; those of an older checkpoint are that already."""
    return {key: HistoryBuffer(value['logs'].cpu().numpy(), value['counts'].cpu().numpy(), value['max_length'])
            if isinstance(value, dict) and HISTORY in value else value for key, value in scalars.items()}
