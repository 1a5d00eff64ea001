"""Softmax, statistics and inverses are computed in float32, in float64 for float64 input."""
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor


def wide_dtype(x: Tensor) -> torch.dtype:
    """float32, or the dtype of the tensor if that is wider."""
    return torch.promote_types(x.dtype, torch.float32)


def widen(x: Tensor) -> Tensor:
    """The tensor in float32 or wider."""
    return x.to(wide_dtype(x))


def wide_copy(x: Tensor) -> Tensor:
    """A new tensor in float32 or wider, contiguous: to be changed in place, and fit for matrix products.

    The heads of projected tokens are a strided view; products of it would copy it each time.
    """
    return x.to(wide_dtype(x), copy=True, memory_format=torch.contiguous_format)


def autocasts(x: Tensor) -> bool:
    """Whether products on the device of x are taken in half precision by autocast."""
    return not x.is_meta and torch.is_autocast_enabled(x.device.type)


def no_autocast(x: Tensor) -> AbstractContextManager:
    """A context in which products of wide tensors stay wide on the device of x."""
    return torch.autocast(x.device.type, enabled=False) if autocasts(x) else nullcontext()
