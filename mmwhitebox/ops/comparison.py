"""Whether the kernels compute what the equations say, here: on this GPU, with this driver, torch and triton.

A small random case of an operator goes through its kernels, and through its naive form in float64. Outputs and all
gradients are compared: ||difference|| / ||naive||, the greater of the 2-norm and the largest entry.
``impl='auto'`` asks :func:`refusal` before it takes a kernel; :mod:`.self_check` makes the table of all.
"""
import math
import threading
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from .kernels.launch import cast_type, dot_precision
from .operator import Operator

TOLERANCES = {torch.float32: 1e-4, torch.bfloat16: 5e-2, torch.float16: 1e-2}
TF32_TOLERANCE = 1e-2
"""Of float32 where torch's settings let products be rounded to TF32, whose digits are float16's."""
SIZES = dict(heads=3, dims=64, representatives=64, tokens=150)

_verdicts: dict[tuple, 'Comparison'] = {}
_lock = threading.Lock()


class Comparison(NamedTuple):
    """Kernels of one operator against its naive form.

    Attributes:
        operator (str): 'cbsa', 'tssa', 'dmsa' or 'ista'.
        device (torch.device): Where they ran.
        dtype (torch.dtype): Type of the tokens.
        output_error (float): Relative error of the output; NaN where nothing ran.
        gradient_errors (dict[str, float]): Relative error of the gradient of each input.
        tolerance (float): Greatest error allowed.
        seconds (float): How long it took, compilation included.
        agrees (bool): The verdict.
        reason (str): Why not, in a few words; '' if it agrees.
    """
    operator: str
    device: torch.device
    dtype: torch.dtype
    output_error: float
    gradient_errors: dict[str, float]
    tolerance: float
    seconds: float
    agrees: bool
    reason: str


def tolerance(device: torch.device, dtype: torch.dtype) -> float:
    """Greatest relative error of kernels in a type."""
    if dtype == torch.float32 and device.type == 'cuda' and dot_precision(dtype) == 'tf32':
        return TF32_TOLERANCE
    return TOLERANCES[dtype]


def example(name: str, device: torch.device, dtype: torch.dtype, heads: int, dims: int, representatives: int,
            tokens: int) -> dict[str, Tensor]:
    """Random inputs of an operator, the same in every run: 2 images, whose tokens are no whole number of blocks."""
    generator = torch.Generator(device).manual_seed(0)

    def normal(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
        return torch.randn(shape, generator=generator, device=device).to(dtype)

    def split(n: int) -> Tensor:  # as the projection leaves the heads
        return normal(2, n, heads, dims, dtype=dtype).transpose(1, 2)

    if name == 'cbsa':
        return dict(w=split(tokens), r0=split(representatives), step_rep=normal(heads, 1, 1),
                    step_x=normal(heads, 1, 1))
    if name == 'tssa':
        return dict(w=split(tokens), temp=1 + normal(heads, 1).abs())
    if name == 'dmsa':
        return dict(s=split(tokens), logits=normal(2, tokens, heads, dtype=dtype).transpose(1, 2))
    width = heads * dims
    return dict(x=normal(2, max(tokens, width), width, dtype=dtype), weight=normal(width, width) / width**0.5)


def decided(operator: Operator, inputs: dict[str, Tensor], options: tuple) -> Tensor | bool:
    """Where the result does not hang on rounding: ISTA's threshold is at least 0.05 away."""
    if operator.name != 'ista':
        return True
    eta, lam = options or (0.1, 0.1)
    wide = [tensor.double() for tensor in inputs.values()]
    above, below = (operator.naive(*wide, eta, lam + shift / eta) > 0 for shift in (0.05, -0.05))
    return above | ~below


def run(form: Callable, inputs: dict[str, Tensor], options: tuple, cotangent: Tensor) -> dict[str, Tensor]:
    """Output and gradients of a form."""
    leaves = {key: value.detach().requires_grad_() for key, value in inputs.items()}
    out = form(*leaves.values(), *options)
    grads = torch.autograd.grad(out, list(leaves.values()), cotangent.to(out.dtype))
    return dict(output=out.detach(), **dict(zip(leaves, grads)))


def relative_error(got: Tensor, exact: Tensor) -> float:
    """The greater of ||got - exact|| / ||exact|| in the 2-norm and at the largest entry; infinite for NaN."""
    difference = got.double() - exact
    error = max((torch.linalg.vector_norm(difference, norm) / torch.linalg.vector_norm(exact, norm)).item()
                for norm in (2, torch.inf))
    return error if math.isfinite(error) else math.inf


def compare(operator: Operator, device: torch.device, dtype: torch.dtype, options: tuple = (),
            **sizes: int) -> Comparison:
    """Compare the kernels of an operator with its naive form, once, now.

    Args:
        operator (Operator): The operator.
        device (torch.device): A GPU, or a CPU in Triton's interpreter.
        dtype (torch.dtype): Type of the tokens.
        options (tuple): The operator's arguments behind its tensors.
        **sizes: ``heads``, ``dims``, ``representatives``, ``tokens``, in the place of those in ``SIZES``.

    Nothing of the caller's state is touched: it runs in a thread of its own, without the caller's autograd and
    inference modes, autocast, tracing and hooks, and draws from a generator of its own.
    """
    results: list[tuple[dict[str, float], str]] = []
    start = time.perf_counter()

    def work() -> None:
        try:
            results.append(errors())
        except Exception as error:  # whatever a compiler or a driver raises
            text = ' '.join(str(error).split())[:200]
            results.append(({}, f'they fail ({type(error).__name__}: {text})'))

    def errors() -> tuple[dict[str, float], str]:
        kernels = operator.kernels()
        if kernels is None:
            return {}, 'triton cannot be imported'
        inputs = example(operator.name, device, dtype, **{**SIZES, **sizes})
        reason = kernels.unsupported(*inputs.values(), *options)
        if reason is not None:
            return {}, reason
        first = next(iter(inputs.values()))
        generator = torch.Generator(device).manual_seed(1)
        cotangent = torch.randn(first.shape, generator=generator, device=device).to(dtype)
        cotangent = cotangent * decided(operator, inputs, options)
        wide = {key: value.double() for key, value in inputs.items()}
        exact = run(operator.naive, wide, options, cotangent)
        got = run(kernels.run, inputs, options, cotangent)
        return {key: relative_error(got[key], exact[key]) for key in exact}, ''

    thread = threading.Thread(target=work, name='mmwhitebox self-check')
    thread.start()
    thread.join()
    (found, reason), allowed = results[0], tolerance(device, dtype)
    worst = max(found, key=found.get, default=None)
    if worst is not None and found[worst] > allowed:
        what = 'output' if worst == 'output' else f'gradient of {worst}'
        reason = (f'its kernels disagree with the equation on this device in {str(dtype).removeprefix("torch.")}: '
                  f'{what} off by {found[worst]:.1e}, allowed {allowed:.0e}')
    output = found.pop('output', math.nan)
    seconds = time.perf_counter() - start
    return Comparison(operator.name, device, dtype, output, found, allowed, seconds, not reason, reason)


@torch.compiler.assume_constant_result  # torch.compile runs it once, as it traces
def _verdict(operator: Operator, device: torch.device, dtype: torch.dtype, options: tuple,
             sizes: tuple) -> str | None:
    key = operator.name, device, dtype, options
    if key not in _verdicts:
        if device.type == 'cuda' and torch.cuda.is_current_stream_capturing():
            return 'a CUDA graph is captured, and its kernels were not checked before'
        with _lock:
            if key not in _verdicts:
                _verdicts[key] = compare(operator, device, dtype, options, **dict(sizes))
    return _verdicts[key].reason or None


def refusal(operator: Operator, x: Tensor, *args: Any) -> str | None:
    """Why the kernels must not be taken for this call, in a few words, or None; arguments as of the operator.

    Compared once per process, operator, device, type and options, with the heads and dimensions of the first call:
    most of what is compiled for it is what that call needs.
    """
    options = tuple(arg for arg in args if not isinstance(arg, Tensor))
    heads, dims = (1, x.shape[-1]) if operator.name == 'ista' else (x.shape[1], x.shape[3])
    sizes = dict(heads=heads, dims=dims, **(dict(representatives=args[0].shape[2]) if operator.name == 'cbsa' else {}))
    dtype = cast_type(x) if operator.name == 'cbsa' else x.dtype  # its products take autocast's type
    return _verdict(operator, x.device, dtype, options, tuple(sizes.items()))
