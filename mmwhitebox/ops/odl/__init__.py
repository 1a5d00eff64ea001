r"""ODL, overcomplete dictionary learning: the sparsifying feed-forward of CRATE-alpha (NeurIPS 2024).

Two proximal gradient steps on the code of a token in a dictionary D, from a code of zero, and a second dictionary D1
that maps the code back. For a row x:

    a  = eta x D
    z1 = relu(a - eta lambda)
    z2 = relu(z1 + a - eta z1 D^T D - eta lambda)
    y  = z2 D1^T                                        D, D1: d x r d, overcomplete (r = 4)

y is an update of the token: x <- x + ODL(LN(x)).
"""
from torch import Tensor

from ..dispatch import is_naive, no_kernels
from . import eager, naive

__all__ = ['odl']


def odl(x: Tensor,
        dictionary: Tensor,
        dictionary_out: Tensor,
        eta: float = 0.1,
        lam: float = 0.1,
        impl: str = 'auto') -> Tensor:
    """Sparse code of the tokens in one dictionary, mapped back by another; without a residual.

    Args:
        x (Tensor): Tokens, (..., d).
        dictionary (Tensor): D, (d, r d).
        dictionary_out (Tensor): D1, (d, r d).
        eta (float): Step size. Defaults to 0.1.
        lam (float): Weight lambda of the sparsity term. Defaults to 0.1.
        impl (str): The form, see :mod:`mmwhitebox.ops.dispatch`. Defaults to 'auto'.

    Returns:
        Tensor: y, of the shape and dtype of x.
    """
    if is_naive(impl):
        return naive.odl(x, dictionary, dictionary_out, eta, lam)
    no_kernels('odl', impl)
    return eager.odl(x, dictionary, dictionary_out, eta, lam)
