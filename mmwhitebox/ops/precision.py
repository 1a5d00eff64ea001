"""Softmax, statistics and inverses are computed in float32, in float64 for float64 input."""
import platform
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor


def bf16_is_emulated(device: torch.device | str) -> bool:
    """Whether a device is a CPU without instructions for bfloat16 (AVX512-BF16, AMX): slower there than float32.

    Of other processors than x86 torch does not say it, and they count as able.
    """
    if torch.device(device).type != 'cpu' or platform.machine().lower() not in ('x86_64', 'amd64'):
        return False
    return not any(getattr(torch.cpu, name, bool)() for name in ('_is_avx512_bf16_supported', '_is_amx_tile_supported'))


def wide_dtype(x: Tensor) -> torch.dtype:
    """float32, or the dtype of the tensor if that is wider."""
    return torch.promote_types(x.dtype, torch.float32)


def widen(x: Tensor) -> Tensor:
    """The tensor in float32 or wider."""
    return x.to(wide_dtype(x))


def wide_product(x: Tensor, y: Tensor) -> Tensor:
    """x * y, y of the shape of x or broadcast to it: in float32 or wider, and contiguous; x as wide in a single pass.

    The heads of projected tokens are a strided view; matrix products of it would copy it each time. Not differentiable:
    for functions with a backward pass of their own.
    """
    if x.dtype == wide_dtype(x):
        return torch.mul(x.detach(), y.detach(), out=torch.empty_like(x, memory_format=torch.contiguous_format))
    wide = x.to(wide_dtype(x), memory_format=torch.contiguous_format)
    return wide.square_() if y is x else wide.mul_(y)


def autocasts(x: Tensor) -> bool:
    """Whether products on the device of x are taken in half precision by autocast."""
    return not x.is_meta and torch.is_autocast_enabled(x.device.type)


def no_autocast(x: Tensor) -> AbstractContextManager:
    """A context in which products of wide tensors stay wide on the device of x."""
    return torch.autocast(x.device.type, enabled=False) if autocasts(x) else nullcontext()


def add_product(x: Tensor, y: Tensor, m: Tensor, alpha: float = 1.) -> Tensor:
    """x + alpha y M for x (T, D), y (T, C), M (C, D); under autocast the sum keeps the precision of x."""
    if autocasts(x):
        return torch.add(x, y @ m, alpha=alpha)
    return torch.addmm(x, y, m.to(x.dtype), alpha=alpha)
