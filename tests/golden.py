"""Reading the recorded weights, inputs, outputs and gradients of the official implementations."""
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from mmwhitebox import ops

FOLDER = Path(__file__).parent / 'data' / 'golden'
RTOL, ATOL = 1e-4, 1e-5


@pytest.fixture(params=['naive', 'torch'])
def form(request):
    """The recorded numbers hold for the equation and for the fast form."""
    with ops.use(request.param):
        yield request.param


class Golden:
    """One recorded case: ``params``, ``inputs``, ``outputs``, ``grads`` (by official key), all tensors.

    The official keys of JAX are paths below ``params/`` themselves.
    """

    def __init__(self, case: str) -> None:
        arrays = np.load(FOLDER / f'{case}.npz')

        def group(name: str) -> dict[str, Tensor]:
            return {
                key.split('/', 1)[1]: torch.from_numpy(arrays[key])
                for key in arrays.files if key.startswith(f'{name}/')
            }

        jax = {f'params/{key}': value for key, value in group('params').items()}
        self.params, self.inputs = group('param') or jax, group('input')
        self.outputs, self.grads = group('output'), group('grad')
        self.grad_x = group('grad_input').get('x')


def assert_close(actual: Tensor, expected: Tensor, name: str = '') -> None:
    torch.testing.assert_close(
        actual, expected, rtol=RTOL, atol=ATOL, msg=lambda message: f'{name}: {message}')


def check_gradients(golden: Golden, module: nn.Module, output: Tensor, x: Tensor,
                    to_official: Callable[[dict[str, Tensor]], dict[str, Tensor]]) -> None:
    """Backpropagate the recorded cotangent; compare with every recorded gradient.

    ``to_official`` maps a dict of our parameters' gradients to the official keys and layout.
    """
    (output * golden.inputs['cotangent']).sum().backward()
    assert_close(x.grad, golden.grad_x, 'x')
    grads = to_official({name: p.grad for name, p in module.named_parameters()})
    assert set(grads) == set(golden.grads)
    for name, grad in grads.items():
        assert_close(grad, golden.grads[name], name)
