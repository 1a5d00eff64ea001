r"""CBSA in fused kernels; see :mod:`mmwhitebox.ops.cbsa` for the operator.

The equations are in :mod:`.triton_forward` and :mod:`.triton_backward`. Forward and backward are two custom
operators, so that torch.compile keeps them whole. Kept for backward: the inputs, AW (B, K, m, p) and lse (B, K, m);
nothing of size m x N is ever in memory.
"""

import torch
from torch import Tensor
from torch.utils.flop_counter import register_flop_formula
from triton.backends.nvidia.compiler import CUDAOptions

from ..autograd import refuse_second
from ..kernels import launch
from .triton_backward import backward
from .triton_forward import forward, is_wide

MAX_SIZE = 128
"""Largest m and p: one program holds all representatives of a head."""

_HAS_BF16X6 = 'bf16x6' in CUDAOptions.allowed_dot_input_precisions


@torch.library.custom_op('mmwhitebox::cbsa_forward', mutates_args=())
def _forward(w: Tensor, r0: Tensor, step_rep: Tensor, step_x: Tensor, contract: bool) -> tuple[Tensor, Tensor, Tensor]:
    return forward(w, r0, step_rep, step_x, contract)


@_forward.register_fake
def _(w, r0, step_rep, step_x, contract):
    statistics = torch.float32
    return (torch.empty_like(launch.unit_last_stride(w)), r0.new_empty(r0.shape, dtype=statistics),
            r0.new_empty(r0.shape[:-1], dtype=statistics))


@torch.library.custom_op('mmwhitebox::cbsa_backward', mutates_args=())
def _backward(dout: Tensor, w: Tensor, r0: Tensor, step_rep: Tensor, step_x: Tensor, aw: Tensor, lse: Tensor,
              contract: bool) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    return backward(dout, w, r0, step_rep, step_x, aw, lse, contract)


@_backward.register_fake
def _(dout, w, r0, step_rep, step_x, aw, lse, contract):
    return (torch.empty_like(launch.unit_last_stride(w)), r0.new_empty(r0.shape), step_rep.new_empty(step_rep.shape),
            step_x.new_empty(step_x.shape))


def _save(ctx, inputs: tuple, output: tuple[Tensor, Tensor, Tensor]) -> None:
    *tensors, ctx.contract = inputs
    _, aw, lse = output
    ctx.save_for_backward(*tensors, aw, lse)
    ctx.mark_non_differentiable(aw, lse)
    ctx.set_materialize_grads(False)


def _differentiate(ctx, dout: Tensor, *_) -> tuple:
    return *_backward(dout, *ctx.saved_tensors, ctx.contract), None


_forward.register_autograd(_differentiate, setup_context=_save)
_backward.register_autograd(refuse_second('cbsa'))


@register_flop_formula(torch.ops.mmwhitebox.cbsa_forward)
def _forward_flops(w_shape, r0_shape, step_rep_shape, step_x_shape, contract, *args, **kwargs) -> int:
    """Two per multiply-add, of the products of the eager form: what is recomputed is not work of the operator."""
    (batch, heads, n, p), m = w_shape, r0_shape[2]
    return 2 * batch * heads * m * p * (3 * n + (2 * m if contract else 0))


@register_flop_formula(torch.ops.mmwhitebox.cbsa_backward)
def _backward_flops(dout_shape, w_shape, r0_shape, step_rep_shape, step_x_shape, aw_shape, lse_shape, contract, *args,
                    **kwargs) -> int:
    """A matrix product has two in its backward pass."""
    return 2 * _forward_flops(w_shape, r0_shape, step_rep_shape, step_x_shape, contract)


def unsupported(w: Tensor,
                r0: Tensor,
                step_rep: Tensor,
                step_x: Tensor,
                contraction: str | None = 'softmax',
                eps_squared: float = 0.01) -> str | None:
    """Why the kernels cannot take this call, in a few words, or None; arguments as of :func:`cbsa`."""
    if w.dim() != 4 or r0.dim() != 4 or w.shape[:2] != r0.shape[:2] or w.shape[-1] != r0.shape[-1]:
        return 'W and R0 are not (B, K, N, p) and (B, K, m, p)'
    if w.numel() == 0 or r0.numel() == 0:
        return 'there is nothing to compute'
    heads, p, m = w.shape[1], w.shape[3], r0.shape[2]
    if any(tuple(step.shape) != (heads, 1, 1) for step in (step_rep, step_x)):
        return 'the step sizes are not (K, 1, 1)'
    if contraction not in ('softmax', None):
        return f'the kernels have no contraction {contraction!r}'
    if max(m, p) > MAX_SIZE:
        return f'a head has {m} representatives of {p} dimensions, and there may be {MAX_SIZE}'
    reason = launch.dtype_reason(w, r0) or launch.device_reason(w, r0, step_rep, step_x)
    return _gpu_reason(w.device.index, launch.cast_type(w), m, p) if reason is None and w.is_cuda else reason


def _gpu_reason(index: int | None, dtype: torch.dtype, m: int, p: int) -> str | None:
    """Why the kernels do not fit the GPU, or None."""
    if torch.version.hip is not None:
        return 'the kernels are shaped for NVIDIA GPUs'
    if launch.capability(index) < (8, 0):
        return 'the GPU is older than compute capability 8.0'
    if dtype == torch.float32 and is_wide(m, p):
        return f'{m} representatives of {p} dimensions do not fit on the chip in float32'
    if dtype == torch.float32 and not _HAS_BF16X6:
        return 'float32 needs a newer triton, whose products take bf16x6'
    needed = 160 if dtype == torch.float32 or is_wide(m, p) else 80
    if launch.shared_memory(index) < needed * 1024:
        return f'the GPU has less than {needed} KB of shared memory for a program'
    return None


def cbsa(w: Tensor,
         r0: Tensor,
         step_rep: Tensor,
         step_x: Tensor,
         contraction: str | None = 'softmax',
         eps_squared: float = 0.01) -> Tensor:
    """Contract-and-Broadcast Self-Attention of projected tokens, fused.

    Args:
        w (Tensor): Projected tokens W, (B, K, N, p), p up to 128, any strides (copied where the last is not 1). Under
            autocast W and R0 are cast to its type, as for a matrix product.
        r0 (Tensor): Initial representatives R0, (B, K, m, p), m up to 128.
        step_rep (Tensor): Extraction step, one per head, (K, 1, 1).
        step_x (Tensor): Broadcast step, one per head, (K, 1, 1).
        contraction (str, optional): 'softmax' or None. Defaults to 'softmax'.
        eps_squared (float): Of the contraction that the kernels do not have; not used.

    Returns:
        Tensor: step_x (A^T C), (B, K, N, p), of the type of W, laid out as W.
    """
    operands = launch.cast_for_autocast(w, r0)
    out, _, _ = _forward(*operands, step_rep, step_x, contraction == 'softmax')
    return out.to(w.dtype)
