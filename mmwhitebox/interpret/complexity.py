"""What a model costs: parameters, FLOPs, pairwise similarities, activation memory of a training step."""
from collections.abc import Callable
from contextlib import ExitStack

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from mmwhitebox.models.attention import BaseAttention
from mmwhitebox.models.feedforward import ISTA
from mmwhitebox.ops.saved import saved_storages


def count_parameters(module: nn.Module) -> int:
    """Number of parameters."""
    return sum(p.numel() for p in module.parameters())


def count_flops(module: nn.Module, *inputs: Tensor) -> int:
    """FLOPs of one forward pass, two per multiply-add, by torch's flop counter.

    ISTA is counted in its two-product form, 4 N D^2, in which the published figures are given; what runs
    is one product of the tokens and one D x D x D product of the weights. Of CBSA the tokens are mapped back, as
    published, also where the representatives are, which is fewer.

    Args:
        module (nn.Module): Any module; on the meta device nothing is computed.
        *inputs (Tensor): Its inputs.

    Returns:
        int: FLOPs.
    """
    counter = FlopCounterMode(display=False)
    before, correction = {}, 0

    def enter(ista: nn.Module, args: tuple) -> None:
        before[ista] = counter.get_total_flops()

    def leave(ista: nn.Module, args: tuple, output: Tensor) -> None:
        nonlocal correction
        counted = counter.get_total_flops() - before[ista]
        correction += 4 * output.numel() * output.shape[-1] - counted

    with ExitStack() as stack:
        for ista in (m for m in module.modules() if isinstance(m, ISTA)):
            stack.callback(ista.register_forward_pre_hook(enter).remove)
            stack.callback(ista.register_forward_hook(leave).remove)
        # torch's counter follows gradients of module inputs, and a view of a parameter has none to follow.
        for parameter in (p for p in module.parameters() if p.requires_grad):
            parameter.requires_grad_(False)
            stack.callback(parameter.requires_grad_, True)
        # Fused attention is counted by its two products, whatever kernel the device would take.
        stack.enter_context(sdpa_kernel(SDPBackend.MATH))
        stack.enter_context(counter)
        module(*inputs)
    return counter.get_total_flops() + correction


def count_similarities(module: nn.Module, *inputs: Tensor) -> int:
    """Pairwise similarities of all white-box attention layers for the inputs (CBSA, table 4).

    Args:
        module (nn.Module): Any module; attention that is not of this package counts as none.
        *inputs (Tensor): Its inputs, one image.
    """
    total = 0

    def note(attention: BaseAttention, args: tuple) -> None:
        nonlocal total
        first, second = args
        if isinstance(second, Tensor):  # cross-attention: queries, tokens
            total += attention.pairwise_similarities((1, second.shape[1]), first.shape[1])
        else:  # tokens, grid
            total += attention.pairwise_similarities(second, first.shape[1] - second[0] * second[1])

    with ExitStack() as stack:
        for attention in (m for m in module.modules() if isinstance(m, BaseAttention)):
            stack.callback(attention.register_forward_pre_hook(note).remove)
        stack.enter_context(torch.no_grad())
        module(*inputs)
    return total


def activation_memory(module: nn.Module, loss: Callable[[], Tensor]) -> tuple[int, str]:
    """Memory that one training step takes beyond the weights and their gradients.

    Args:
        module (nn.Module): The model, in training mode.
        loss (Callable): Runs the forward pass and returns the scalar loss.

    Returns:
        tuple[int, str]: Bytes, and how they were found: 'measured', the peak on the GPU, or 'computed',
        the tensors that autograd saves for the backward pass, each storage counted once.
    """
    device = next(module.parameters()).device
    if device.type == 'cuda':
        loss().backward()  # gradients exist from here on, so they are not in the difference
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
        start = torch.cuda.memory_allocated(device)
        loss().backward()
        torch.cuda.synchronize(device)
        return torch.cuda.max_memory_allocated(device) - start, 'measured'
    own = (*module.parameters(), *module.buffers())
    return sum(saved_storages(lambda: loss().backward(), own)), 'computed'
