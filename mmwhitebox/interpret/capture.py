"""Reading what the layers of a model compute, without changing it: what went in and out."""
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import timm.layers
from torch import Tensor, nn

from mmwhitebox.models.access import shown_part
from mmwhitebox.models.feedforward import ISTA, MLP, ODL

TIMM_FEEDFORWARDS = (timm.layers.Mlp, timm.layers.GluMlp, timm.layers.SwiGLU)


@dataclass
class Call:
    """One call of a module.

    Attributes:
        args (tuple): Its positional arguments; tensors are detached.
        output (Any): What it returned; a tensor is detached.
        kwargs (dict): Its keyword arguments, of timm's attentions rotary positions and masks; tensors are detached.
    """

    args: tuple
    output: Any
    kwargs: dict = field(default_factory=dict)


def feedforward_layers(model: nn.Module) -> dict[str, nn.Module]:
    """Feed-forward modules (ISTA, ODL, MLP, timm's) in the order in which they run, name -> module."""
    return {name: module for name, module in shown_part(model).named_modules()
            if isinstance(module, (ISTA, ODL, MLP, *TIMM_FEEDFORWARDS))}


@contextmanager
def capture(modules: dict[str, nn.Module], max_images: int | None = None) -> Iterator[dict[str, Call]]:
    """Record the latest call of each module while the context lasts.

    The hooks are removed at its end, also after an error. Memory is that of the recorded tensors. What :func:`run`
    records are inference tensors: compute with them under ``torch.no_grad()`` or ``torch.inference_mode()``.

    Args:
        modules (dict[str, nn.Module]): Name -> module, e.g. from
            :func:`mmwhitebox.models.attention_layers.attention_layers`.
        max_images (int, optional): Keep copies of only that many images, the first ones of each tensor's batch
            axis. Defaults to None, all of them.

    Yields:
        dict[str, Call]: Name -> its latest call. Modules that did not run are missing.
    """
    calls: dict[str, Call] = {}

    def keep(value: Any) -> Any:
        if not isinstance(value, Tensor):
            return value
        return value.detach() if max_images is None else value.detach()[:max_images].clone()

    def recorder(name: str):

        def record(module: nn.Module, args: tuple, kwargs: dict, output: Any) -> None:
            calls[name] = Call(tuple(map(keep, args)), keep(output), {
                key: value.detach() if isinstance(value, Tensor) else value for key, value in kwargs.items()})

        return record

    with ExitStack() as stack:
        for name, module in modules.items():
            stack.callback(module.register_forward_hook(recorder(name), with_kwargs=True).remove)
        yield calls
