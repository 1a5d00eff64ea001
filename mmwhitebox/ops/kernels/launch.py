"""What all fused kernels share: what they run on, how exact their products are, how the work is split."""
import os
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor

INTERPRETED = os.environ.get('TRITON_INTERPRET', '').lower() in ('1', 'true', 'on', 'yes', 'y')
"""Whether the kernels run in Triton's interpreter, on the CPU too. Read once, as the kernels are defined."""

DTYPES = (torch.float32, torch.bfloat16, torch.float16)


@torch.compiler.assume_constant_result
def capability(index: int | None) -> tuple[int, int]:
    """Compute capability of a GPU."""
    return torch.cuda.get_device_capability(index)


@torch.compiler.assume_constant_result
def shared_memory(index: int | None) -> int:
    """Bytes of shared memory that one program may take on a GPU."""
    return torch.cuda.get_device_properties(index).shared_memory_per_block_optin


def device_reason(*tensors: Tensor) -> str | None:
    """Why the kernels cannot run where these tensors are, or None."""
    device = tensors[0].device
    if any(t.device != device for t in tensors):
        return 'the tensors are on several devices'
    if device.type == 'cpu' and INTERPRETED:
        return None
    if device.type != 'cuda':
        return f'the tensors are on the device {device.type!r}'
    if torch.version.hip is None:
        if capability(device.index) < (7, 0):
            return 'the GPU is older than compute capability 7.0'
        if tensors[0].dtype == torch.bfloat16 and capability(device.index) < (8, 0):
            return 'bfloat16 needs a GPU of compute capability 8.0'
    return None


def dtype_reason(*tensors: Tensor) -> str | None:
    """Why the kernels do not take these tensors of tokens, or None. Under autocast they become one type."""
    for t in tensors:
        if t.dtype not in DTYPES:
            return f'they take float32, bfloat16 and float16, not {str(t.dtype).removeprefix("torch.")}'
    if any(t.dtype != tensors[0].dtype for t in tensors) and not torch.is_autocast_enabled(tensors[0].device.type):
        return 'the tensors are of several types'
    return None


def cast_type(x: Tensor) -> torch.dtype:
    """The type in which a matrix product would take a tensor: autocast's where it is on."""
    device_type = x.device.type
    return torch.get_autocast_dtype(device_type) if torch.is_autocast_enabled(device_type) else x.dtype


def cast_for_autocast(*tensors: Tensor) -> tuple[Tensor, ...]:
    """The operands of a matrix product as autocast would make them: in its type where it is on."""
    return tuple(t.to(cast_type(t)) for t in tensors)


def unit_last_stride(x: Tensor) -> Tensor:
    """The tensor itself, or a copy where its last dimension is strided: kernels read rows of consecutive values."""
    return x if x.stride(-1) == 1 or x.shape[-1] == 1 else x.contiguous()


def dot_precision(dtype: torch.dtype) -> str:
    """``input_precision`` of tl.dot for operands of a type.

    float32 operands are split into three bfloat16 each, and six products of these keep 24 bits: float32's own
    exactness, on tensor cores. ('ieee' goes through scalar units, a register for each operand: it spills kilobytes a
    thread.) Where torch's own products are allowed TF32 ours take it, too.
    """
    if dtype != torch.float32:
        return 'ieee'
    matmul = torch.backends.cuda.matmul
    allowed = matmul.fp32_precision == 'tf32' if hasattr(matmul, 'fp32_precision') else matmul.allow_tf32
    return 'tf32' if allowed else 'bf16x6'


def block_size(size: int, least: int = 16) -> int:
    """The smallest power of two that holds ``size``; tl.dot takes no dimension below 16."""
    return max(least, 1 << (size - 1).bit_length())


def num_processors(device: torch.device) -> int:
    """Streaming multiprocessors of the device; a few in the interpreter, so that small inputs are split too."""
    return torch.cuda.get_device_properties(device).multi_processor_count if device.type == 'cuda' else 4


def split_tokens(num_tokens: int, block: int, programs: int, device: torch.device) -> tuple[int, int]:
    """Split the token axis so that a few long sequences fill the device, too.

    Args:
        num_tokens (int): N.
        block (int): Tokens that one step of a kernel's loop takes.
        programs (int): Programs that there are without a split, such as B*K.
        device (torch.device): Where they run.

    Returns:
        tuple[int, int]: Number of splits, and tokens of one split, a multiple of ``block``; no split is empty. They
        depend on shapes and the device alone: results are repeatable.
    """
    blocks = -(-num_tokens // block)
    wanted = -(-4 * num_processors(device) // programs)  # four programs for each processor
    per_split = -(-blocks // max(1, min(blocks, wanted)))  # blocks of one split
    return -(-blocks // per_split), per_split * block


def on_device(tensor: Tensor) -> AbstractContextManager:
    """Triton launches on the current device: make the tensor's device the current one."""
    return torch.cuda.device(tensor.device) if tensor.is_cuda else nullcontext()
