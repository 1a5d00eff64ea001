"""How far an exported file agrees with its model."""
from collections.abc import Callable, Sequence

import torch

from mmwhitebox.errors import UserError

TOLERANCE = 1e-4


def reason_of(error: BaseException) -> str:
    """The line of an error that says the most, short."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[0] if lines else type(error).__name__)[:200]


def measure_agreement(reference: Callable, candidate: Callable, batch: int, channels: int,
                      sizes: Sequence[tuple[int, int]]) -> dict:
    """Compare two networks on random images, one batch per size.

    Returns:
        dict: ``max_abs_difference`` and ``relative`` (to the largest absolute logit), each the largest of
        all sizes, and ``sizes``.

    Raises:
        UserError: They differ by more than :data:`TOLERANCE`, relative, or the candidate fails on a size.
    """
    generator = torch.Generator().manual_seed(0)
    worst = dict(max_abs_difference=0., relative=0., sizes=[list(size) for size in sizes])
    for size in sizes:
        where = f'on images of {size[0]} x {size[1]}'
        images = torch.randn(batch, channels, *size, generator=generator)
        with torch.no_grad():
            expected = reference(images)
        try:
            logits = candidate(images)
        except Exception as error:  # of torch or of onnxruntime, each with its own types
            raise UserError(f'The exported graph does not run {where}: {reason_of(error)}') from error
        if logits.shape != expected.shape:
            raise UserError(f'The exported graph gives logits of shape {tuple(logits.shape)} {where}, the '
                            f'model gives {tuple(expected.shape)}. The file was not kept.')
        difference = (logits - expected).abs().max().item()
        relative = difference / max(expected.abs().max().item(), 1e-12)
        if not relative <= TOLERANCE:  # nor if it is NaN
            raise UserError(f'The exported graph differs from the model by {difference:.2e} {where}, '
                            f'{relative:.2e} of the largest logit; {TOLERANCE:g} is allowed. The file was '
                            'not kept.')
        worst['max_abs_difference'] = max(worst['max_abs_difference'], difference)
        worst['relative'] = max(worst['relative'], relative)
    return worst
