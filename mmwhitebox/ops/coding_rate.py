r"""The coding rate, differentiable: R = 1/2 logdet(I + scale * G), G the smaller Gram matrix of the tokens.

    R(Z; eps) = 1/2 logdet(I + p / (n eps^2) Z^T Z)          Z: n tokens of p dimensions, as rows
"""
import torch
from torch import Tensor

JITTERS = (1e-6, 1e-4, 1e-2)  # relative to the mean of the diagonal


def gram_rate(gram: Tensor, scale: float | Tensor) -> Tensor:
    """1/2 logdet(I + scale * gram) by Cholesky, in float32 or wider; jitter is added only where it fails.

    Args:
        gram (Tensor): Gram matrices, (..., k, k).
        scale (float | Tensor): A number, or one that broadcasts to (..., 1, 1).

    Returns:
        Tensor: (...), in nats; NaN of matrices that are not finite, or that jitter does not make positive definite.
    """
    gram = gram.to(torch.promote_types(gram.dtype, torch.float32))
    eye = torch.eye(gram.shape[-1], dtype=gram.dtype, device=gram.device)
    matrix = eye + scale * gram
    factor, info = torch.linalg.cholesky_ex(matrix)
    if info.any():
        size, jitter = matrix.detach().diagonal(dim1=-2, dim2=-1).mean(-1), torch.zeros_like(info, dtype=gram.dtype)
        for share in JITTERS:
            jitter = torch.where(info != 0, share * size, jitter)
            info = torch.linalg.cholesky_ex(matrix.detach() + jitter[..., None, None] * eye)[1]
        failed = (info != 0)[..., None, None]
        factor = torch.linalg.cholesky_ex(torch.where(failed, eye, matrix + jitter[..., None, None] * eye))[0]
    return factor.diagonal(dim1=-2, dim2=-1).log().sum(-1).masked_fill(info != 0, torch.nan)


def coding_rate(z: Tensor, eps_squared: float) -> Tensor:
    """Coding rate of tokens: (..., n, p) -> (...), in nats, in float32 or wider, under autocast too."""
    n, p = z.shape[-2:]
    with torch.autocast(z.device.type, enabled=False):
        z = z.to(torch.promote_types(z.dtype, torch.float32))
        return gram_rate(z @ z.mT if n <= p else z.mT @ z, p / (n * eps_squared))
