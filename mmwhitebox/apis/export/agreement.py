"""How far an exported file agrees with its model."""
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from mmwhitebox.errors import UserError

from .networks import LogitsNetwork, Size
from .processing import ProcessingNetwork

TOLERANCE = dict(float32=1e-4, float16=2e-2, bfloat16=2e-1)
"""The largest difference that is allowed, relative to the largest logit, by the type of the weights."""


def reason_of(error: BaseException) -> str:
    """The line of an error that says the most, short."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[0] if lines else type(error).__name__)[:200]


def measure_agreement(network: LogitsNetwork | ProcessingNetwork, candidate: Callable[[Tensor], Tensor],
                      cases: Sequence[tuple[int, Size]], dtype: str = 'float32') -> dict:
    """Compare what was exported with the model it was made of, on random images.

    Args:
        network (LogitsNetwork | ProcessingNetwork): In float32.
        candidate (Callable): What was read from the file: images to what the network gives.
        cases (Sequence[tuple[int, tuple[int, int]]]): Images in a batch, and their height and width.
        dtype (str): Of the file, for :data:`TOLERANCE`. Defaults to 'float32'.

    Returns:
        dict: ``max_abs_difference`` and ``relative`` (to the largest absolute logit), each the largest of all cases,
        ``batches`` and ``sizes``. Of scores, both are of probabilities. Of label maps, both are of the logits that the
        model gives to the two labels where they differ, and ``equal_labels`` is the share of equal pixels.

    Raises:
        UserError: They differ by more than is allowed, twice that between two labels, or the candidate fails.
    """
    generator = torch.Generator().manual_seed(0)
    found = dict(max_abs_difference=0., relative=0., batches=[batch for batch, _ in cases],
                 sizes=[list(size) for _, size in cases])
    allowed, equal = TOLERANCE[dtype], []
    for batch, size in cases:
        where = f'on {batch} images of {size[0]} x {size[1]}' if batch > 1 else f'on images of {size[0]} x {size[1]}'
        images = network.random_images(batch, size, generator)
        expected, logits = network.inferred(images)
        try:
            given = candidate(images)
        except Exception as error:  # of torch or of onnxruntime, each with its own types
            raise UserError(f'The exported graph does not run {where}: {reason_of(error)}') from error
        if given.shape != expected.shape:
            raise UserError(f'The exported graph gives {network.output} of shape {tuple(given.shape)} {where}, the '
                            f'model gives {tuple(expected.shape)}. The file was not kept.')
        if network.output == 'labels':
            equal.append((given == expected).float().mean().item())
            values = [logits.gather(1, labels[:, None]) for labels in (given, expected)]
            difference, most = (values[1] - values[0]).abs().max().item(), 2 * allowed
        else:
            difference, most = (given - expected).abs().max().item(), allowed
        relative = difference / max(logits.abs().max().item(), 1e-12)
        if not relative <= most:  # nor if it is NaN
            raise UserError(f'The exported graph differs from the model by {difference:.2e} {where}, '
                            f'{relative:.2e} of the largest logit; {most:g} is allowed. The file was not kept.')
        found['max_abs_difference'] = max(found['max_abs_difference'], difference)
        found['relative'] = max(found['relative'], relative)
    return found | (dict(equal_labels=sum(equal) / len(equal)) if equal else {})
