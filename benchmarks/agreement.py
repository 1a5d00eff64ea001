"""The gate before the clock: forms of one model must compute the same function of the same weights."""
import copy

import torch
from torch import Tensor

from mmwhitebox.errors import UserError

from .cases import Case, Contestant, Settings

TOLERANCES = {  # relative, in the 2-norm, of the output and of a gradient
    torch.float64: dict(output=1e-8, gradient=1e-7),
    torch.float32: dict(output=1e-4, gradient=2e-2),  # a token near the kink of ISTA may fall on either side
    torch.float16: dict(output=1e-2, gradient=5e-2),
    torch.bfloat16: dict(output=5e-2, gradient=2e-1),
}
OPTIMIZED = 1e-5  # of the output of a model for inference, in float32
ITEMS = 2  # of the batch; statistics over the batch need more than one
NEGLIGIBLE = 1e-5  # a gradient so far below the largest is rounding alone, as before a normalisation


class Disagreement(UserError):
    """Two forms of one model do not compute the same: no time of them means anything."""


def relative_error(ours: Tensor, other: Tensor) -> float:
    """||other - ours|| / ||ours||."""
    ours, other = ours.double(), other.double()
    return float((other - ours).norm() / ours.norm().clamp_min(1e-30))


def precision_of(contestant: Contestant, settings: Settings) -> torch.dtype:
    """The type in which a form is compared.

    Eager forms in float64, where nothing but the formulas can differ. Kernels in float32: they are of that type; so are
    the folded weights of an optimized model. A compiled form as it is timed, since its graph is made for one batch and
    one type; so is one in bfloat16.
    """
    if contestant.bf16:
        return torch.bfloat16
    if contestant.compiled:
        return settings.dtype
    return torch.float32 if contestant.form == 'triton' or contestant.optimized else torch.float64


def output_and_gradients(case: Case, contestant: Contestant, settings: Settings,
                         dtype: torch.dtype | None) -> dict[str, Tensor]:
    """The output and, in training, the gradients of all parameters and inputs by name.

    Args:
        case (Case): What is compared.
        contestant (Contestant): One form.
        settings (Settings): How.
        dtype (torch.dtype, optional): Some items of the batch in this type; None for the whole batch as it
            is timed.
    """
    precision = case.precision(settings)
    if dtype is not None:
        precision = torch.autocast(settings.device.type, enabled=False)
        inputs = tuple(x.detach()[:ITEMS].to(dtype).requires_grad_(x.requires_grad)
                       for x in contestant.inputs)
        contestant = Contestant(copy.deepcopy(contestant.module).to(dtype), inputs, contestant.form)
    module, inputs = contestant.module.train(case.training), contestant.inputs
    if not case.training:
        with torch.inference_mode(), precision:
            return dict(output=contestant.call(*inputs).clone())
    buffers = {name: buffer.clone() for name, buffer in module.named_buffers()}
    with precision:
        output = contestant.call(*inputs)
        root, gradient = case.objective(output)
    leaves = {f'input {i}': x for i, x in enumerate(inputs) if x.requires_grad}
    leaves.update(module.named_parameters())
    gradients = torch.autograd.grad(root, list(leaves.values()), gradient, allow_unused=True)
    for name, buffer in module.named_buffers():
        buffer.copy_(buffers[name])
    return dict(output=output.detach(), **{n: g for n, g in zip(leaves, gradients) if g is not None})


def check_agreement(case: Case, name: str, contestant: Contestant, ours: Contestant,
                    settings: Settings) -> dict[str, float]:
    """Largest relative differences of a form from the one that it must agree with.

    Args:
        case (Case): What is compared.
        name (str): Name of the form.
        contestant (Contestant): The form.
        ours (Contestant): The one it must agree with.
        settings (Settings): How.

    Returns:
        dict: Of the ``output`` and of any ``gradient``.

    Raises:
        Disagreement: The output or a gradient differs by more than the tolerance, or one is missing.
    """
    dtype = precision_of(contestant, settings)
    as_timed = contestant.compiled or contestant.bf16
    expected, found = (output_and_gradients(case, form, settings, None if as_timed else dtype)
                       for form in (ours, contestant))
    allowed = dict(TOLERANCES[dtype], output=OPTIMIZED) if contestant.optimized else TOLERANCES[dtype]
    message = f'{case.title}: {name} does not agree with {case.same_as[name]}: '
    if set(expected) != set(found):
        odd = ', '.join(sorted(set(expected) ^ set(found)))
        raise Disagreement(f'{message}only one of them has a gradient of {odd}. Nothing was timed.')
    norms = {key: float(value.double().norm()) for key, value in expected.items() if key != 'output'}
    worst: dict[str, float] = {}
    for key in expected:
        if key in norms and norms[key] < NEGLIGIBLE * max(norms.values()):
            continue
        kind, what = ('gradient', f'the gradient of {key}') if key in norms else ('output', 'the output')
        error = relative_error(expected[key], found[key])
        if not error <= allowed[kind]:
            raise Disagreement(f'{message}{what} differs by {error:.1e} of its norm, allowed is '
                               f'{allowed[kind]:.0e}. Nothing was timed.')
        worst[kind] = max(worst.get(kind, 0.), float(f'{error:.2g}'))
    return worst
