"""Gradients that wait for the end of their accumulation: what a checkpoint between two updates must hold."""

from mmengine.dist import gather_object, get_rank
from mmengine.model import is_model_wrapper
from mmengine.optim import OptimWrapper, OptimWrapperDict
from mmengine.runner import Runner
from torch import Tensor, nn


def bare_model(model: nn.Module) -> nn.Module:
    """The model without the wrapper of distributed training."""
    return model.module if is_model_wrapper(model) else model


def single_wrappers(runner: Runner) -> list[OptimWrapper]:
    """The optimizer wrappers of a run: one, or those of an OptimWrapperDict."""
    wrapper = runner.optim_wrapper
    return list(wrapper.values()) if isinstance(wrapper, OptimWrapperDict) else [wrapper]


def is_accumulating(runner: Runner) -> bool:
    """Whether gradients of past iterations wait for the next update."""
    return any(wrapper._accumulative_counts > 1 and not wrapper.should_update()
               for wrapper in single_wrappers(runner))


def gather_gradients(runner: Runner) -> list[dict[str, Tensor]] | None:
    """The waiting gradients of all processes, by parameter name; None if there are none.

    All processes call it together; the first one gets the answer.
    """
    if not is_accumulating(runner):
        return None
    own = {name: parameter.grad.detach().cpu() for name, parameter in bare_model(runner.model).named_parameters()
           if parameter.grad is not None}
    return gather_object(own)


def restore_gradients(runner: Runner, gradients: list[dict[str, Tensor]]) -> None:
    """Give this process its waiting gradients back."""
    own = gradients[get_rank()]
    for name, parameter in bare_model(runner.model).named_parameters():
        if name in own:
            parameter.grad = own[name].to(parameter.device, copy=True)
