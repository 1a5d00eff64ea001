r"""CBSA step by step, eq. 5-8; see :mod:`mmwhitebox.ops.cbsa`."""
import torch
from torch import Tensor

from ..precision import no_autocast, wide_dtype, widen

CONTRACTIONS = ('softmax', 'inverse', None)


def extract(w: Tensor, r0: Tensor, step_rep: Tensor) -> tuple[Tensor, Tensor]:
    """Extract the representatives from the tokens by one cross-attention step (eq. 5).

    Args:
        w (Tensor): Projected tokens W, (B, K, N, p).
        r0 (Tensor): Initial representatives R0, (B, K, m, p).
        step_rep (Tensor): One step size per head, (K, 1, 1).

    Returns:
        tuple[Tensor, Tensor]: Coefficients A, (B, K, m, N), rows summing to one, and the
        representatives R, (B, K, m, p).
    """
    s = w.shape[-1]**-0.5
    scores = s * r0 @ w.transpose(-1, -2)  # (B, K, m, N)
    a = scores.softmax(-1, dtype=wide_dtype(w)).to(w.dtype)
    return a, r0 + step_rep * (a @ w)


def contract(r: Tensor, contraction: str | None = 'softmax', eps_squared: float = 0.01) -> Tensor:
    """Contract the representatives: one gradient step on their coding rate (eq. 7 or 8).

    Args:
        r (Tensor): Representatives R, (B, K, m, p).
        contraction (str, optional): ``'softmax'`` (eq. 8, the paper's default): softmax(s R R^T) R.
            ``'inverse'`` (eq. 7): (I + p/(m eps^2) R R^T)^{-1} R, evaluated on the smaller of the two
            Gram matrices. None leaves R as it is. Defaults to 'softmax'.
        eps_squared (float): eps^2 of eq. 7. Defaults to 0.01.

    Returns:
        Tensor: C, (B, K, m, p).

    Raises:
        ValueError: There is no such contraction.
    """
    if contraction is None:
        return r
    if contraction not in CONTRACTIONS:
        raise ValueError(f'cbsa: contraction must be one of {CONTRACTIONS}, got {contraction!r}.')
    if contraction == 'softmax':
        return (r.shape[-1]**-0.5 * r @ r.mT).softmax(-1) @ r
    with no_autocast(r):
        return solve_gram(widen(r), widen(r), eps_squared).to(r.dtype)


def solve_gram(r: Tensor, x: Tensor, eps_squared: float) -> Tensor:
    """(I + c R R^T)^{-1} X if m <= p, else X (I + c R^T R)^{-1}, c = p/(m eps^2); the same thing for X = R."""
    m, p = r.shape[-2:]
    scaled = r * (p / (m * eps_squared))**0.5
    eye = torch.eye(min(m, p), dtype=r.dtype, device=r.device)
    if m <= p:
        return torch.linalg.solve_ex(eye + scaled @ scaled.mT, x).result
    return torch.linalg.solve_ex(eye + scaled.mT @ scaled, x, left=False).result


def broadcast(a: Tensor, c: Tensor) -> Tensor:
    """Send the contraction back to the tokens by the coefficients they were extracted with (eq. 6).

    Args:
        a (Tensor): Coefficients A, (B, K, m, N).
        c (Tensor): Contracted representatives C, (B, K, m, p).

    Returns:
        Tensor: A^T C, (B, K, N, p).
    """
    return a.transpose(-1, -2) @ c


def cbsa(w: Tensor,
         r0: Tensor,
         step_rep: Tensor,
         step_x: Tensor,
         contraction: str | None = 'softmax',
         eps_squared: float = 0.01) -> Tensor:
    """step_x (A^T C), (B, K, N, p); arguments as of :func:`mmwhitebox.ops.cbsa`."""
    with no_autocast(w):
        a, r = extract(widen(w), widen(r0), widen(step_rep))
        return (widen(step_x) * broadcast(a, contract(r, contraction, eps_squared))).to(w.dtype)
