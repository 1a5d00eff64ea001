"""The table of all operators with kernels: whether each agrees with its equation here, see :mod:`.comparison`."""
import torch

from .cbsa import operator as _cbsa
from .comparison import Comparison, compare
from .dmsa import operator as _dmsa
from .ista import operator as _ista
from .kernels.launch import DTYPES
from .tssa import operator as _tssa

OPERATORS = _cbsa, _tssa, _dmsa, _ista


def compare_kernels(device: torch.device | str) -> list[Comparison]:
    """Compare the kernels of all operators in all types with the naive forms.

    Args:
        device (torch.device | str): A GPU; a CPU where Triton's interpreter is on (TRITON_INTERPRET=1).
    """
    return [compare(operator, torch.device(device), dtype) for operator in OPERATORS for dtype in DTYPES]
