r"""Folded ISTA with its epilogue in one kernel, forward and backward; see :mod:`mmwhitebox.ops.ista`.

    M = eta (W - W^T W),    Z = X M,    y = relu(x + z - eta lambda)
    backward, with g the gradient of y:    dZ = [y > 0] g,    dX = dZ + dZ M^T,    dM = X^T dZ

The products stay the library's, which reaches the peak of a GPU. Around them eager PyTorch passes three
times over the tokens forward (x into the sum, subtract, threshold); here it is one pass, written over Z, in
float32 arithmetic, and one pass backward. Kept for the backward pass: X, M and y. The eager form is used
under torch.compile, which fuses the epilogue by itself, and for fewer tokens than D, where two products
without M are cheaper.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from ..autograd import FirstOrder, first_order
from ..kernels import launch
from ..precision import no_autocast, widen

BLOCK = 2048


@triton.jit
def threshold_kernel(X, Z, Y, numbers, shift, BLOCK: tl.constexpr):
    """y = relu(x + z - shift); NaN stays NaN, as in torch."""
    index = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    inside = index < numbers
    x = tl.load(X + index, mask=inside, other=0.).to(tl.float32)
    z = tl.load(Z + index, mask=inside, other=0.).to(tl.float32)
    y = tl.maximum(x + z - shift, 0., propagate_nan=tl.PropagateNan.ALL)
    tl.store(Y + index, y.to(Y.dtype.element_ty), mask=inside)


@triton.jit
def threshold_backward_kernel(GRAD, Y, DZ, numbers, BLOCK: tl.constexpr):
    """dz = [y > 0] g."""
    index = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    inside = index < numbers
    y = tl.load(Y + index, mask=inside, other=0.)
    g = tl.load(GRAD + index, mask=inside, other=0.)
    tl.store(DZ + index, tl.where(y > 0, g, 0.), mask=inside)


def _elementwise(kernel: triton.JITFunction, *tensors: Tensor, **scalars: float) -> None:
    """Run a kernel over contiguous tensors of one shape."""
    numbers = tensors[0].numel()
    with launch.on_device(tensors[0]):
        kernel[(triton.cdiv(numbers, BLOCK), )](*tensors, numbers, **scalars, BLOCK=BLOCK, num_warps=4,
                                               enable_fp_fusion=True)


class _Step(FirstOrder):
    """relu(x + x M - shift) of tokens (T, D), contiguous; M in the dtype of the product."""

    name = 'ista'

    @staticmethod
    def forward(x: Tensor, m: Tensor, shift: float) -> Tensor:
        with no_autocast(x):
            z = x.to(m.dtype) @ m
        y = z if z.dtype == x.dtype else torch.empty_like(x)
        _elementwise(threshold_kernel, x, z, y, shift=shift)
        return y

    @staticmethod
    def setup_context(ctx, inputs, output) -> None:
        ctx.save_for_backward(*inputs[:2], output)

    @staticmethod
    @first_order
    def backward(ctx, saved, grad: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        x, m, y = saved
        dz = torch.empty_like(y)
        _elementwise(threshold_backward_kernel, grad.contiguous(), y, dz)
        narrow = dz.to(m.dtype)
        dx = dm = None
        with no_autocast(x):
            if ctx.needs_input_grad[0]:
                dx = torch.addmm(dz, dz, m.mT) if m.dtype == dz.dtype else dz + narrow @ m.mT
            if ctx.needs_input_grad[1]:
                dm = x.to(m.dtype).mT @ narrow
        return dx, dm, None


def unsupported(x: Tensor, weight: Tensor, eta: float = 0.1, lam: float = 0.1) -> str | None:
    """Why this call cannot run fused, in a few words; None if it can."""
    if torch.compiler.is_compiling():
        return 'torch.compile fuses the eager form itself'
    if x.numel() < weight.numel():
        return 'two products without M are cheaper for fewer tokens than dimensions'
    return launch.device_reason(x, weight) or launch.dtype_reason(x) or launch.dtype_reason(weight)


def ista(x: Tensor, weight: Tensor, eta: float = 0.1, lam: float = 0.1) -> Tensor:
    """y, of the shape and dtype of x (float32, bfloat16 or float16); arguments as of :func:`mmwhitebox.ops.ista`."""
    wide = widen(weight)
    with no_autocast(x):
        m = torch.addmm(wide, wide.mT, wide, beta=eta, alpha=-eta).to(x.dtype)  # (D, D)
    m, = launch.cast_for_autocast(m)  # the type of the product
    tokens = x.reshape(-1, x.shape[-1]).contiguous()
    return _Step.call(tokens, m, eta * lam).view(x.shape)
