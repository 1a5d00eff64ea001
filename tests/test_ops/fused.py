"""What the tests of the fused kernels share: where they run, and how their numbers are compared."""
from collections.abc import Callable, Sequence

import pytest
import torch
from _pytest.mark.structures import ParameterSet
from torch import Tensor

DEVICE = 'cuda' if torch.cuda.is_available() else 'cpu'
"""Without a GPU the kernels run in Triton's interpreter, see tests/conftest.py."""


def on_a_gpu(*case) -> ParameterSet:
    """A case of a size that the interpreter takes long for; a smaller one goes through the same branches there."""
    return pytest.param(*case, marks=pytest.mark.skipif(DEVICE == 'cpu', reason='a size for a GPU'))


def leaves(*tensors: Tensor, dtype: torch.dtype = None) -> list:
    """Copies that take gradients; with ``dtype`` in that type."""
    return [t.detach().to(dtype or t.dtype, copy=True).requires_grad_() for t in tensors]


def outputs_and_gradients(op: Callable, inputs: Sequence[Tensor], grad: Tensor, dtype=None) -> list:
    """Output of an operator and the gradients of its inputs."""
    inputs = leaves(*inputs, dtype=dtype)
    out = op(*inputs)
    out.backward(grad.to(out.dtype))
    return [out.detach()] + [x.grad for x in inputs]


def error(got: Tensor, exact: Tensor, norm: float) -> float:
    """||got - exact|| / ||exact||; ||got|| where exact is zero."""
    size = torch.linalg.vector_norm(exact.double(), norm)
    difference = torch.linalg.vector_norm(got.double() - exact.double(), norm)
    return (difference / size if size > 0 else difference).item()


def assert_as_exact(fused: Sequence[Tensor], eager: Sequence[Tensor], exact: Sequence[Tensor]) -> None:
    """Fused results are of the eager form's types and, against float64, as exact as it, in norm and maximum.

    As exact: within 1e-5 in float32 and one unit of the last place in half precision, where the
    interpreter cuts bfloat16 off instead of rounding it, or within twice the eager form's own error.
    """
    for i, (a, b, c) in enumerate(zip(fused, eager, exact, strict=True)):
        assert a.dtype == b.dtype and a.shape == b.shape
        floor = 1e-5 if a.dtype == torch.float32 else torch.finfo(a.dtype).eps
        for norm in (2, torch.inf):
            limit = max(floor, 2 * error(b, c, norm))
            assert error(a, c, norm) <= limit, f'result {i}, norm {norm}: {error(a, c, norm)} > {limit}'


def compare(fused: Callable, eager: Callable, naive: Callable, inputs: Sequence[Tensor], grad: Tensor) -> None:
    """Outputs and every gradient of the fused form against the equation in float64, beside the eager form's."""
    assert_as_exact(
        outputs_and_gradients(fused, inputs, grad), outputs_and_gradients(eager, inputs, grad),
        outputs_and_gradients(naive, inputs, grad, torch.float64))


def nan_empty(*args, **kwargs) -> Tensor:
    """torch.empty, filled with NaN: memory that a kernel does not write shows."""
    return torch.full(*args, fill_value=torch.nan, **kwargs)


def saved_numbers(op: Callable, *inputs: Tensor) -> int:
    """How many numbers an operator keeps for its backward pass, each tensor counted once."""
    kept = {}

    def keep(t: Tensor) -> Tensor:
        kept[t.data_ptr()] = t.numel()
        return t

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda t: t):
        out = op(*inputs)
    assert out.grad_fn is not None
    return sum(kept.values())
