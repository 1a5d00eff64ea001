r"""ODL for any device, fast: see :mod:`mmwhitebox.ops.odl`. Four products of the tokens, steps and sums inside them:

    z1 = relu(eta x D - eta lambda)
    z2 = relu(z1 + eta (x - z1 D^T) D - eta lambda)            a - eta z1 D^T D = eta (x - z1 D^T) D
    y  = z2 D1^T

With G = D^T D the step to z2 is one product, of r^2 d^2 a token, where the two by D take 2 r d^2: no gain for r >= 2.
The backward pass keeps x, z1, x - z1 D^T and z2, 2 + 2 r numbers for each of x: what its products need.
"""
import torch
from torch import Tensor

from ..precision import add_product


def odl(x: Tensor, dictionary: Tensor, dictionary_out: Tensor, eta: float = 0.1, lam: float = 0.1) -> Tensor:
    """y, of the shape and dtype of x; arguments as of :func:`mmwhitebox.ops.odl`."""
    tokens = x.reshape(-1, x.shape[-1])  # (T, d)
    d, d1 = dictionary.to(x.dtype), dictionary_out.to(x.dtype)
    shift = tokens.new_full((d.shape[1], ), -eta * lam)
    z = torch.addmm(shift, tokens, d, alpha=eta).relu_()  # z1, (T, r d)
    rest = add_product(tokens, z, d.mT, -1)  # x - z1 D^T
    z = torch.addmm(z, rest, d, alpha=eta).sub_(eta * lam).relu_()  # z2
    return (z @ d1.mT).to(x.dtype).view(x.shape)
