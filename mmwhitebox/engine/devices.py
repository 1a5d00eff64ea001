"""Devices that there are, and the precisions of a network."""
import logging

import torch

from mmwhitebox.errors import UserError
from mmwhitebox.ops.precision import bf16_is_emulated

LOG = logging.getLogger(__name__)
PRECISIONS = dict(fp32=torch.float32, bf16=torch.bfloat16, fp16=torch.float16)


def check_device(device: str | None, option: str = '--device') -> None:
    """Make sure that a device is there; ``option`` is what it was given by.

    Raises:
        UserError: torch does not know it, or cannot put a tensor on it.
    """
    if device is None:
        return
    try:
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        there = ['cpu', *(f'cuda:{i}' for i in range(torch.cuda.device_count()))]
        raise UserError(f'{option} {device}: {str(error).splitlines()[0]} There is: {", ".join(there)}.') from error


def warn_of_emulated_bf16(device: torch.device | str) -> None:
    """Say in a line that bfloat16 is slow on a device, if it is."""
    if bf16_is_emulated(device):
        LOG.warning('This CPU has no bfloat16 instructions (AVX512-BF16, AMX): bf16 is emulated and slower than fp32.')


def autocast_dtype(precision: str, device_type: str) -> torch.dtype:
    """The dtype of products and convolutions under a precision of :data:`PRECISIONS`; warns where bf16 is slow.

    Raises:
        UserError: The precision is unknown, or fp16 is asked for on a CPU.
    """
    if precision not in PRECISIONS:
        raise UserError(f'There is no precision {precision!r}; it is one of {", ".join(PRECISIONS)}.')
    if precision == 'fp16' and device_type == 'cpu':
        raise UserError('fp16 needs a GPU. On a CPU use bf16.')
    if precision == 'bf16':
        warn_of_emulated_bf16(device_type)
    return PRECISIONS[precision]
