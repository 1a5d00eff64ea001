r"""Contract-and-Broadcast Self-Attention (CBSA, NeurIPS 2025, eq. 5-8).

    initialise   R0 = AvgPool_{g x g}(W)                    m = g^2 representatives per subspace
    extract      A  = softmax_tokens(s R0 W^T)              R = R0 + step_rep (A W)        (eq. 5)
    contract     C  = softmax(s R R^T) R                                                  (eq. 8)
              or C  = (I + p / (m eps^2) R R^T)^{-1} R                                    (eq. 7)
    broadcast    CBSA(W) = step_x (A^T C)                                                 (eq. 6)

with s = p^{-1/2}. Contracting the m representatives compresses all N tokens: the cost is linear in N.

Reading: for its derivation the paper puts a stop-gradient on the initial guess R0 (section 3.2). Here, as in the
published code, whose gradients the tests compare, gradients flow through it.
"""
import torch
import torch.nn.functional as F
from torch import Tensor

from ..dispatch import is_eager, run
from ..operator import Kernels, Operator
from ..precision import autocasts, wide_dtype
from ..resampling import is_symbolic
from . import eager, naive
from .naive import CONTRACTIONS, broadcast, contract, extract

__all__ = ['CONTRACTIONS', 'broadcast', 'cbsa', 'contract', 'extract', 'mapped_cbsa', 'operator']


def _kernels() -> Kernels | None:
    try:
        from . import triton
    except ImportError:
        return None
    return Kernels(triton.cbsa, triton.unsupported)


operator = Operator('cbsa', naive.cbsa, eager.cbsa, _kernels)


def cbsa(w: Tensor,
         r0: Tensor,
         step_rep: Tensor,
         step_x: Tensor,
         contraction: str | None = 'softmax',
         eps_squared: float = 0.01,
         impl: str = 'auto') -> Tensor:
    """Contract-and-Broadcast Self-Attention of projected tokens.

    Args:
        w (Tensor): Projected tokens W, (B, K, N, p).
        r0 (Tensor): Initial representatives R0, (B, K, m, p), see :func:`mmwhitebox.ops.pool_representatives`.
        step_rep (Tensor): Extraction step, one per head, (K, 1, 1).
        step_x (Tensor): Broadcast step, one per head, (K, 1, 1). Sign and scale are not constrained.
        contraction (str, optional): See :func:`contract`. Defaults to 'softmax'.
        eps_squared (float): See :func:`contract`. Defaults to 0.01.
        impl (str): The form, see :mod:`mmwhitebox.ops.dispatch`. Defaults to 'auto'.

    Returns:
        Tensor: step_x (A^T C), (B, K, N, p), before the output map.
    """
    return run(operator, impl, w, r0, step_rep, step_x, contraction, eps_squared)


def mapped_cbsa(w: Tensor,
                r0: Tensor,
                step_rep: Tensor,
                step_x: Tensor,
                weight: Tensor,
                bias: Tensor | None = None,
                contraction: str | None = 'softmax',
                eps_squared: float = 0.01,
                impl: str = 'auto') -> Tensor:
    """The output of :func:`cbsa`, heads joined, mapped back to the width of the tokens.

    The eager form maps the representatives in place of the tokens where that takes fewer multiplications, see
    :func:`.eager.maps_representatives`: in float32 and float64, for sizes that are known.

    Args:
        w (Tensor): Projected tokens W, (B, K, N, p).
        r0 (Tensor): Initial representatives R0, (B, K, m, p).
        step_rep (Tensor): Extraction step, (K, 1, 1).
        step_x (Tensor): Broadcast step, (K, 1, 1).
        weight (Tensor): Weight of the map back, (D, K*p), as of a Linear.
        bias (Tensor, optional): Its bias, (D). Defaults to None.
        contraction (str, optional): See :func:`contract`. Defaults to 'softmax'.
        eps_squared (float): See :func:`contract`. Defaults to 0.01.
        impl (str): The form, see :mod:`mmwhitebox.ops.dispatch`. Defaults to 'auto'.

    Returns:
        Tensor: (B, N, D).
    """
    if is_eager(impl, w) and _maps_representatives(w, r0, weight):
        return eager.mapped_cbsa(w, r0, step_rep, step_x, weight, bias, contraction, eps_squared)
    heads = cbsa(w, r0, step_rep, step_x, contraction, eps_squared, impl)
    return F.linear(heads.transpose(1, 2).flatten(2), weight, bias)


def _maps_representatives(w: Tensor, r0: Tensor, weight: Tensor) -> bool:
    if torch.jit.is_tracing() or is_symbolic(*w.shape):
        return False
    exact = w.dtype == wide_dtype(w) == weight.dtype and not autocasts(w)
    return exact and eager.maps_representatives(w.shape[2], r0.shape[2], w.shape[3], weight.shape[0])
