r"""Tokens as colour: the first principal components of an image's patch tokens.

    X = patch tokens minus their mean, (N, D);    X^T X v_i = l_i v_i,  l_1 >= l_2 >= l_3;    c_i = X v_i
    shown: (c_i - min c_i) / (max c_i - min c_i)

The sign of v_i, which nothing fixes, is the one that makes its entry of the largest size positive.
"""
import scipy.linalg
import torch
from torch import Tensor

NUM_COMPONENTS = 3


def principal_components(tokens: Tensor, count: int = NUM_COMPONENTS) -> Tensor:
    """Coordinates of tokens in their first principal directions.

    Args:
        tokens (Tensor): Patch tokens of an image, (N, D).
        count (int): Defaults to 3.

    Returns:
        Tensor: (N, count) float32 on the CPU, largest variance first; zeros where there is no such direction, and of
        tokens that are not finite.
    """
    x = tokens.detach().float().cpu()
    x = (x - x.mean(0)).double()
    n, d = x.shape
    if not x.isfinite().all():
        return x.new_zeros(n, count).float()
    gram = (x.mT @ x if d <= n else x @ x.mT).numpy()
    kept = min(count, len(gram))
    values, vectors = scipy.linalg.eigh(gram, subset_by_index=[len(gram) - kept, len(gram) - 1])
    values, vectors = values[::-1], torch.from_numpy(vectors[:, ::-1].copy())
    directions = vectors if d <= n else torch.nn.functional.normalize(x.mT @ vectors, dim=0)  # (D, kept)
    largest = directions.gather(0, directions.abs().argmax(0, keepdim=True))
    found = x @ (directions * torch.where(largest < 0, -1., 1.))
    found[:, torch.from_numpy(values <= 1e-10 * max(values[0], 1e-300))] = 0
    return torch.nn.functional.pad(found, (0, count - kept)).float()


def token_colours(tokens: Tensor) -> Tensor:
    """The first three principal components as red, green and blue.

    Args:
        tokens (Tensor): Patch tokens of an image, (N, D).

    Returns:
        Tensor: (N, 3) in 0..1; a half where a component is the same for all tokens.
    """
    components = principal_components(tokens)
    low, high = components.amin(0), components.amax(0)
    return torch.where(high > low, (components - low) / (high - low).clamp_min(torch.finfo(low.dtype).tiny), 0.5)
