r"""ODL as it is defined; see :mod:`mmwhitebox.ops.odl`."""
from torch import Tensor

from ..precision import no_autocast, widen


def odl(x: Tensor, dictionary: Tensor, dictionary_out: Tensor, eta: float = 0.1, lam: float = 0.1) -> Tensor:
    """y, of the shape and dtype of x; arguments as of :func:`mmwhitebox.ops.odl`."""
    tokens, d, d1 = widen(x), widen(dictionary), widen(dictionary_out)
    with no_autocast(x):
        a = eta * tokens @ d  # (..., r d)
        z1 = (a - eta * lam).relu()
        z2 = (z1 + a - eta * z1 @ d.mT @ d - eta * lam).relu()
        return (z2 @ d1.mT).to(x.dtype)
