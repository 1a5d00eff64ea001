r"""The linear-attention variant of CBSA (CBSA, NeurIPS 2025, eq. 12).

    out = W f(W^T W),          f(l) = 1 / (1 + p / (N eps^2) l)   on the eigenvalues l

The representatives are the principal directions of each head's tokens: directions of large variance
are shrunk, the others pass. No parameter is left in it.
"""
import torch
from torch import Tensor

from .dispatch import no_kernels
from .precision import no_autocast, widen


def spectral_attention(w: Tensor, eps_squared: float = 0.01, impl: str = 'auto') -> Tensor:
    """Filter the spectrum of each head's second-moment matrix.

    f of the p x p matrix W^T W is a matrix inverse, so no eigendecomposition is needed.

    Args:
        w (Tensor): Projected tokens W, (B, K, N, p).
        eps_squared (float): eps^2 of the coding rate. Defaults to 0.01.
        impl (str): One form serves all, see :mod:`mmwhitebox.ops.dispatch`. Defaults to 'auto'.

    Returns:
        Tensor: W f(W^T W), (B, K, N, p).
    """
    no_kernels('spectral_attention', impl)
    n, p = w.shape[-2:]
    x = widen(w)
    eye = torch.eye(p, dtype=x.dtype, device=w.device)
    with no_autocast(w):
        out = torch.linalg.solve_ex(eye + p / (n * eps_squared) * x.mT @ x, x, left=False).result
    return out.to(w.dtype)
