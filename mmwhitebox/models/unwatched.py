"""Modules that nobody watches, which may be computed together with what stands beside them."""
import torch
from torch import nn
from torch.nn.modules.module import _has_any_global_hook


def is_unwatched(module: nn.Module, kind: type[nn.Module]) -> bool:
    """Whether a module is of just this kind and nobody watches or changes it, so that its parameters say what it does.

    Hooks, pruning's too, see and change what goes in and out; a parametrisation or an adapter has a type of its own, a
    quantised weight another type than a tensor.
    """
    hooks = (module._forward_pre_hooks, module._forward_hooks, module._backward_pre_hooks, module._backward_hooks)
    if type(module) is not kind or any(hooks) or 'forward' in vars(module) or _has_any_global_hook():
        return False
    return all(type(p) in (nn.Parameter, torch.Tensor) for p in module._parameters.values() if p is not None)
