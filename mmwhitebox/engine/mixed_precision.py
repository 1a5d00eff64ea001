"""bfloat16 without a GPU."""
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import torch
from mmengine.optim import OptimWrapper
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from mmwhitebox.registry import OPTIM_WRAPPERS


@OPTIM_WRAPPERS.register_module()
class BFloat16OptimWrapper(OptimWrapper):
    """Forward passes under bfloat16 autocast on the model's own device; parameters and optimizer stay float32.

    mmengine's ``AmpOptimWrapper`` asks for a GPU. bfloat16 has the exponents of float32 and needs no loss scaling,
    and CPUs with bfloat16 instructions gain from it too.

    Args:
        flash_attention (bool): Whether ``scaled_dot_product_attention`` may take a flash kernel. On a CPU the backward
            pass of that kernel is slow in bfloat16 for short sequences (64 tokens). Defaults to True.
        **kwargs: Arguments of ``OptimWrapper``.
    """

    def __init__(self, *args, flash_attention: bool = True, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        self.flash_attention = flash_attention

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        """The context of a training step's forward pass."""
        kernels = nullcontext() if self.flash_attention else sdpa_kernel(SDPBackend.MATH)
        device = next(model.parameters()).device.type
        with super().optim_context(model), torch.autocast(device, torch.bfloat16), kernels:
            yield
